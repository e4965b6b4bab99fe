// Permafrost backs up Mastodon: secrets, database, media and Redis, together, encrypted and deduplicated.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"permafrost/cmd/permafrost/internal/hints"

	"permafrost/cmd/permafrost/internal/console"

	"golang.org/x/sys/unix"
)

func main() {
	forbidCoreDumps()
	paceGC()
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// forbidCoreDumps keeps keys and passwords in memory out of core files. A process that is not dumpable gives none to a crash
// handler either, and other processes of its user can't read its memory; that ends where a child begins, the limit of size
// does not. Where neither can be had nothing else is worse for it.
func forbidCoreDumps() {
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}

// run runs the command that args name and returns its exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, ui: console.New(stdout, stderr)}
	return interruptible(
		func(ctx context.Context) int { return a.execute(ctx, args) },
		func(why, trace string) int { return a.abandon(stderr, why, trace) })
}

// execute runs the command that args name, tells its error and returns the exit code.
func (a *app) execute(ctx context.Context, args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	err := a.ui.Settle(root.ExecuteContext(ctx))
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
	a.ui.Error(err, code, hints.Last(err))
	return code
}
