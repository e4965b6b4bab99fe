// Permafrost backs up Mastodon: secrets, database, media and Redis, together, encrypted and deduplicated.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"permafrost/cmd/permafrost/internal/console"
	"permafrost/cmd/permafrost/internal/hints"
	"permafrost/cmd/permafrost/internal/place"
	"permafrost/cmd/permafrost/internal/process"
)

func main() { os.Exit(program(place.Options{})) }

// program is the whole program. It returns the exit code. What no flag says of how storages are reached, o says.
func program(o place.Options) int {
	process.ForbidCoreDumps()
	process.PaceGC()
	return run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, o)
}

// run runs the command that args name and returns its exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer, o place.Options) int {
	a := &app{stdin: stdin, ui: console.New(stdout, stderr), storage: o}
	return process.Interruptible(
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

// Standard error may be stuck: lastWords is how long it may take to tell why, and lastTrace where the command was.
const (
	lastWords = 200 * time.Millisecond
	lastTrace = 5 * time.Second
)

// abandon tells that the command is not waited for, and where it was, as far as anybody hears it. It relies on nothing that the
// command may hold.
func (a *app) abandon(stderr io.Writer, why, trace string) int {
	said, patience := make(chan struct{}), lastWords
	if trace != "" {
		patience = lastTrace
	}
	go func() {
		defer close(said)
		io.WriteString(stderr, trace)
		u := console.New(io.Discard, stderr)
		u.InJSON = a.inJSON.Load()
		u.Error(fmt.Errorf("%w: %s", errInterrupted, why), exitInterrupted, "")
	}()
	select {
	case <-said:
	case <-time.After(patience):
	}
	return exitInterrupted
}
