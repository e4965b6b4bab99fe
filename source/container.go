package source

import (
	"context"
	"net"
	"os/exec"

	"permafrost/internal/hostfs"
)

// A Container is where a server runs that the settings name as other containers know it.
type Container interface {
	// Dial connects to a port of the container, as the user u. Where that can't be, its error is a ReachError.
	Dial(ctx context.Context, u *hostfs.User, port string) (net.Conn, error)

	// Addr is the address at which programs of this host reach the container where Enter has started them. It is empty before the
	// first Dial, and where none does.
	Addr() string

	// Enter calls start, which starts a program and returns at once, on a thread whose network has the container's address.
	Enter(start func() error) error

	// Command returns a command that runs a program within the container, with its standard input and output. Killing the
	// command leaves the program running.
	Command(ctx context.Context, program string, args ...string) *exec.Cmd

	// String names the container.
	String() string
}

// A ReachError says why the container of a server can't be told or reached.
type ReachError struct{ Err error }

func (e *ReachError) Error() string { return e.Err.Error() }

// Unwrap returns what stands behind it.
func (e *ReachError) Unwrap() error { return e.Err }
