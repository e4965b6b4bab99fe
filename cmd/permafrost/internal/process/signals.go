// Package process is what permafrost asks of its own process: that a signal ends a command in good order, that no secret leaves memory
// in a core file or in the trace that SIGQUIT asks for, and that memory stays small.
package process

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// grace is how long a command may take, after a first signal, to end in good order: to give leases and locks back over
// a slow line. What hangs in a system call, or on a server that says nothing, does not keep the process longer.
const grace = 10 * time.Second

// listen returns a channel of the signals of which one is given. What the process was started to ignore, as nohup does with
// SIGHUP, stays ignored.
func listen(to ...os.Signal) chan os.Signal {
	signals := make(chan os.Signal, 2)
	for _, s := range to {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	return signals
}

// Interruptible runs a command in a goroutine of its own and returns its exit code. The first signal ends the command's
// context. A second one, or the end of the grace, does not wait for it any longer: abandoned tells why, and gives the code.
//
// Somebody who wants to know where it hangs sends SIGQUIT, and systemd's watchdog SIGABRT. These too end it at once, as abandoned has it,
// which is given a trace that shows no secret.
func Interruptible(command func(context.Context) int, abandoned func(why, trace string) int) int {
	signals := listen(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	aborts := listen(syscall.SIGQUIT, syscall.SIGABRT)
	defer signal.Stop(aborts)
	restore := terminal()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() {
		defer cancel() // not where this function returns: a command that is abandoned has nothing more to say
		ended <- command(ctx)
	}()
	abort := func(by os.Signal) int {
		restore()
		return abandoned(unix.SignalName(by.(syscall.Signal))+" came", trace())
	}
	select {
	case code := <-ended:
		return code
	case by := <-aborts:
		return abort(by)
	case <-signals:
		cancel()
	}
	why := "a second signal came"
	select {
	case code := <-ended:
		return code
	case by := <-aborts:
		return abort(by)
	case <-signals:
	case <-time.After(grace):
		why = fmt.Sprintf("the command did not end within %v of the signal", grace)
	}
	restore()
	return abandoned(why, "")
}

// maxTrace is what is kept of the goroutines' stacks.
const maxTrace = 4 << 20

// trace returns the stacks of all goroutines, without the words of memory that Go's own trace shows as their arguments: a secret may be
// among these, as the polynomial by which files are cut.
func trace() string {
	stacks := make([]byte, maxTrace)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var out bytes.Buffer
	for line := range bytes.Lines(stacks) {
		call := line[0] != '\t' && !bytes.HasPrefix(line, []byte("goroutine ")) && !bytes.HasPrefix(line, []byte("created by "))
		if n := bytes.LastIndexByte(line, '('); call && n > 0 {
			line = append(line[:n:n], "(...)\n"...)
		}
		out.Write(line)
	}
	return out.String()
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
