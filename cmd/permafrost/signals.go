package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"
)

const (
	// grace is how long a command may take, after a first signal, to end in good order: to give leases and locks back over
	// a slow line. What hangs in a system call, or on a server that says nothing, does not keep the process longer.
	grace = 10 * time.Second

	lastWords = 200 * time.Millisecond // to tell why, where standard error may be stuck
)

// listen returns a channel of the signals that end a command. What the process was started to ignore, as nohup does with
// SIGHUP, stays ignored.
func listen() chan os.Signal {
	signals := make(chan os.Signal, 2)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	return signals
}

// interruptible runs a command in a goroutine of its own and returns its exit code. The first signal ends the command's
// context. A second one, or the end of the grace, does not wait for it any longer: abandoned tells why, and gives the code.
func interruptible(command func(context.Context) int, abandoned func(why string) int) int {
	signals := listen()
	defer signal.Stop(signals)
	restore := terminal()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan int, 1)
	go func() { ended <- command(ctx) }()
	select {
	case code := <-ended:
		return code
	case <-signals:
		cancel()
	}
	why := "a second signal came"
	select {
	case code := <-ended:
		return code
	case <-signals:
	case <-time.After(grace):
		why = fmt.Sprintf("the command did not end within %v of the signal", grace)
	}
	restore()
	return abandoned(why)
}

// terminal returns a function that gives the terminal the modes that it has now: somebody may be typing a passphrase,
// unseen, when the process ends.
func terminal() (restore func()) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return func() {}
	}
	state, err := term.GetState(int(tty.Fd()))
	if err != nil {
		tty.Close()
		return func() {}
	}
	return func() { term.Restore(int(tty.Fd()), state) }
}

// abandon tells that the command is not waited for, as far as anybody hears it. It relies on nothing that the command may
// hold.
func (a *app) abandon(stderr io.Writer, why string) int {
	said := make(chan struct{})
	go func() {
		defer close(said)
		u := newUI(io.Discard, stderr)
		u.json = a.inJSON.Load()
		u.Error(fmt.Errorf("%w: %s", errInterrupted, why), exitInterrupted)
	}()
	select {
	case <-said:
	case <-time.After(lastWords):
	}
	return exitInterrupted
}
