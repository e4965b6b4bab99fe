package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"permafrost/internal/hint"
)

// answering are the commands that do nothing but answer on standard output. All others do something and report it.
var answering = strings.Fields("snapshots show ls find diff dump list version completion")

// readyOutput looks at standard output before a command begins.
//
// What a command has done is not undone by a reader that has ended: where the command does something a broken pipe is an
// error like others, and kills nothing. An answer that nobody can read is no success.
func (a *app) readyOutput(cmd *cobra.Command) error {
	if !slices.Contains(answering, cmd.Name()) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // unread: writing returns EPIPE then
		return nil
	}
	if isClosed(a.ui.out) {
		return hint.Wrap(usagef("standard output is closed, so nobody would read the output of %s", cmd.Name()), "redirect it to /dev/null if you need no output")
	}
	return nil
}

// isClosed reports whether standard output was closed when the program began. Go's runtime puts a /dev/null in its place that
// is open for reading too, which a shell's >/dev/null is not.
func isClosed(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok || f.Fd() != 1 {
		return false
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	var st unix.Stat_t
	return err != nil || flags&unix.O_ACCMODE == unix.O_RDWR && unix.Fstat(1, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR &&
		st.Rdev == unix.Mkdev(1, 3)
}

// An unreportedError says that a command has done its work, and that its report could not be written.
type unreportedError struct {
	done string // what was done
	err  error
}

func (e *unreportedError) Error() string {
	return fmt.Sprintf("%s; only the report of it failed: %v", e.done, e.err)
}
func (e *unreportedError) Unwrap() error { return e.err }

// Done notes what the command has done, for a report that can't be written.
func (u *ui) Done(format string, args ...any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.done = fmt.Sprintf(format, args...)
}

// settle adds to a command's error that data could not be written.
func (u *ui) settle(err error) error {
	u.mu.Lock()
	failure, done := u.failure, u.done
	u.mu.Unlock()
	switch {
	case failure == nil || errors.Is(err, failure):
		return err
	case err != nil:
		u.Warn("%v", failure)
		return err
	case done != "":
		return &unreportedError{done, failure}
	}
	return failure
}
