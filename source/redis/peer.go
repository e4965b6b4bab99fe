package redis

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
)

// openFile opens a file that Redis tells of, with the rights of the user that Redis runs as: whoever answers for the address in
// the settings gets read what he could have sent himself.
func (s *Server) openFile(path string) (*os.File, error) {
	u, err := s.runner()
	if err != nil {
		return nil, err
	}
	if u != nil || os.Geteuid() != 0 {
		return u.Open(path)
	}
	p, err := hostfs.Resolve(path)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return p.Open()
}

// runner returns the user that the Redis at the other end of the last connection runs as: nil for root, and for a process that
// has no other user's rights anyway. That Redis must be on this host. It may still be a container, whose paths are not this
// host's, or the near end of a tunnel.
func (s *Server) runner() (*hostfs.User, error) {
	conn := *s.last.Load()
	if s.conf.Dial != nil {
		return nil, errors.New("the server is in a container")
	}
	if !sameHost(conn) {
		return nil, errors.New("the server is on another host")
	}
	if os.Geteuid() != 0 {
		return nil, nil
	}
	uid, gid, err := peer(conn)
	switch {
	case err != nil:
		return nil, fmt.Errorf("looking for the user that Redis runs as: %w", err)
	case uid == 0 && s.opts.User != nil:
		// Mastodon's user has chosen who answers, and a proxy of root's passes on what anybody says.
		return nil, errors.New("the server, or a proxy before it, runs as root: files that it names are not read")
	case uid == 0:
		return nil, nil
	}
	return hostfs.LookupUID(uid, gid)
}

// sameHost reports whether conn's other end has this host's address.
func sameHost(conn net.Conn) bool {
	local, ok := conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return true // a Unix socket
	}
	remote, ok := conn.RemoteAddr().(*net.TCPAddr)
	return ok && (remote.IP.IsLoopback() || remote.IP.Equal(local.IP))
}

// peer tells who runs the process at the other end of a connection within this host.
func peer(conn net.Conn) (uid, gid uint32, err error) {
	if unixConn, ok := conn.(*net.UnixConn); ok {
		return unixPeer(unixConn)
	}
	local, ok := conn.LocalAddr().(*net.TCPAddr)
	remote, okToo := conn.RemoteAddr().(*net.TCPAddr)
	if !ok || !okToo {
		return 0, 0, errors.New("neither TCP nor a Unix socket")
	}
	// The other end's own view of the connection.
	for _, table := range []struct {
		path string
		v4   bool
	}{{"/proc/net/tcp", true}, {"/proc/net/tcp6", false}} {
		uid, found, err := tcpOwner(table.path, procAddr(remote, table.v4), procAddr(local, table.v4))
		if err != nil || found {
			return uid, uid, err
		}
	}
	return 0, 0, errors.New("the kernel does not list the connection: is Redis in a container?")
}

func unixPeer(conn *net.UnixConn) (uid, gid uint32, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, 0, err
	}
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil {
		return 0, 0, cerr
	}
	if err != nil {
		return 0, 0, err
	}
	return cred.Uid, cred.Gid, nil
}

// procAddr writes an address as the kernel's tables do: each four bytes as a number of this machine's byte order.
func procAddr(a *net.TCPAddr, v4 bool) string {
	ip := a.IP.To16()
	if v4 {
		if ip = a.IP.To4(); ip == nil {
			return ""
		}
	}
	var b strings.Builder
	for word := range slices.Chunk(ip, 4) {
		fmt.Fprintf(&b, "%08X", binary.NativeEndian.Uint32(word))
	}
	return fmt.Sprintf("%s:%04X", b.String(), a.Port)
}

// tcpOwner finds an established connection in one of the kernel's tables: the user that made the socket.
func tcpOwner(table, local, remote string) (uid uint32, found bool, err error) {
	if local == "" {
		return 0, false, nil
	}
	f, err := os.Open(table)
	if errors.Is(err, os.ErrNotExist) {
		return 0, false, nil // a host without IPv6
	}
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	const established, columns = "01", 8 // sl local remote state queues timer retransmits uid
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		c := strings.Fields(lines.Text())
		if len(c) >= columns && c[1] == local && c[2] == remote && c[3] == established {
			n, err := strconv.ParseUint(c[7], 10, 32)
			return uint32(n), true, err
		}
	}
	return 0, false, lines.Err()
}
