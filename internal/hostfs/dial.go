package hostfs

import (
	"context"
	"net"
)

// Dial connects with the user's own rights: a socket of his choice leads him no farther, and its server is told his number.
func (u *User) Dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	// Addresses are tried in turn, since only this goroutine has his rights.
	d := net.Dialer{FallbackDelay: -1}
	err = u.Do(func() (err error) {
		conn, err = d.DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}
