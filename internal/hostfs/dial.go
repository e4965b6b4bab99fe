package hostfs

import (
	"context"
	"net"
	"strings"

	"golang.org/x/sys/unix"
)

// Dial connects with the user's own rights: a socket of his choice leads him no farther, and its server is told his number. The
// path of a socket is walked name by name, as that of a file is.
func (u *User) Dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	// Addresses are tried in turn, since only this goroutine has his rights.
	d := net.Dialer{FallbackDelay: -1}
	err = u.Do(func() (err error) {
		to := addr
		if network == "unix" && u != nil && !strings.HasPrefix(addr, "@") { // which is the name of no file
			at, err := find(unix.AT_FDCWD, addr)
			if err != nil {
				return &net.OpError{Op: "dial", Net: network, Addr: &net.UnixAddr{Name: addr, Net: network}, Err: err}
			}
			defer unix.Close(at)
			to = ProcPath(at)
		}
		conn, err = d.DialContext(ctx, network, to)
		return err
	})
	return conn, err
}
