// Permafrost backs up Mastodon: secrets, database, media and Redis, together, encrypted and deduplicated.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	paceGC()
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run runs the command that args name and returns its exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// The first signal lets the command end in good order, the second one ends it at once.
	context.AfterFunc(ctx, stop)

	a := &app{stdin: stdin, ui: newUI(stdout, stderr)}
	root := newRoot(a)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = a.ui.writeError()
	}
	switch {
	case err == nil:
		return exitDone
	case ctx.Err() != nil:
		err = errInterrupted
	case !a.started && !errors.Is(err, errInterrupted):
		// Whatever goes wrong before a command begins was said wrongly: flags, arguments, environment, configuration.
		err = asUsageError(err)
	}
	code := exitCode(err)
	a.ui.Error(err, code)
	return code
}
