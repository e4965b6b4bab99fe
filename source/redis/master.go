package redis

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxWords = 16   // of a replica's command
	maxWord  = 1024 // bytes of one

	// maxGreeting is how many commands a replica may send before it asks for the data set. It sends about six.
	maxGreeting = 32

	// handshakeTime is how long a replica may take for its greeting, and heartbeat how often it hears of its master after the
	// RDB: it gives up on one that was silent for a minute.
	handshakeTime = 30 * time.Second
	heartbeat     = 5 * time.Second
)

// A Master gives one RDB to a server that is told to be its replica. It is how a server gets its data back whose files are out of
// reach. It speaks as much of the replication protocol as that takes.
type Master struct {
	RDB      *os.File // whole: a replica loses what it has, whatever comes
	Password string   // is asked for; not empty

	// From are the addresses of the one server that may connect.
	Peers []netip.Addr

	Tell func(string) // is told how each connection ended; may be nil
}

// Serve serves the replica until ctx is done. A replica that begins again gets the RDB once more. The listener is closed.
func (m *Master) Serve(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	defer l.Close()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("waiting for the replica: %w", err)
		}
		err = m.connection(ctx, conn)
		if err != nil && ctx.Err() == nil && m.Tell != nil {
			m.Tell(fmt.Sprintf("connection of %v: %v", conn.RemoteAddr(), err))
		}
	}
}

// connection serves one connection to its end.
func (m *Master) connection(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	peer, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil || !slices.Contains(m.Peers, peer.Addr().Unmap()) {
		return errors.New("it is not the server that was expected")
	}
	conn.SetDeadline(time.Now().Add(handshakeTime))
	in := bufio.NewReader(conn)
	if err := m.greet(in, conn); err != nil {
		return fmt.Errorf("before the data set: %w", lost(err))
	}
	conn.SetDeadline(time.Time{})
	if err := m.send(conn); err != nil {
		return fmt.Errorf("sending the data set: %w", lost(err))
	}
	return m.follow(in, conn)
}

// greet answers a replica's commands until it asks for the data set.
func (m *Master) greet(in *bufio.Reader, out io.Writer) error {
	known := false
	for range maxGreeting {
		words, err := readCommand(in)
		if err != nil {
			return err
		}
		answer, name := "-ERR unknown command", strings.ToUpper(words[0])
		switch {
		case name == "PING":
			answer = "+PONG"
		case name == "AUTH":
			known = subtle.ConstantTimeCompare([]byte(words[len(words)-1]), []byte(m.Password)) == 1
			answer = map[bool]string{true: "+OK", false: "-WRONGPASS invalid password"}[known]
		case !known:
			answer = "-NOAUTH Authentication required."
		case name == "REPLCONF":
			answer = "+OK"
		case name == "PSYNC":
			var id [20]byte
			rand.Read(id[:])
			answer = "+FULLRESYNC " + hex.EncodeToString(id[:]) + " 0"
		}
		if _, err := io.WriteString(out, answer+"\r\n"); err != nil {
			return err
		}
		if strings.HasPrefix(answer, "+FULLRESYNC") {
			return nil
		}
	}
	return errors.New("it asks for no data set")
}

// readCommand reads a command, a list of words.
func readCommand(in *bufio.Reader) ([]string, error) {
	n, err := readLength(in, '*', maxWords)
	if err != nil {
		return nil, err
	}
	words := make([]string, n)
	for i := range words {
		size, err := readLength(in, '$', maxWord)
		if err != nil {
			return nil, err
		}
		word := make([]byte, size+len("\r\n"))
		if _, err := io.ReadFull(in, word); err != nil {
			return nil, err
		}
		words[i] = string(word[:size])
	}
	return words, nil
}

// readLength reads a line of a mark and a length from 1 to limit.
func readLength(in *bufio.Reader, mark byte, limit int) (int, error) {
	line, err := in.ReadSlice('\n')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		return 0, err
	}
	digits, ok := strings.CutSuffix(string(line), "\r\n")
	if !ok || digits == "" || digits[0] != mark {
		return 0, fmt.Errorf("it speaks no protocol of a replica: %.40q", line)
	}
	n, err := strconv.ParseUint(digits[1:], 10, 16)
	if err != nil || n < 1 || n > uint64(limit) {
		return 0, fmt.Errorf("it sends a length of %.40q, and may of %d", digits[1:], limit)
	}
	return int(n), nil
}

// send sends the RDB behind its length. A replica that takes nothing for long is given up.
func (m *Master) send(conn net.Conn) error {
	info, err := m.RDB.Stat()
	if err != nil {
		return err
	}
	out := &patient{conn: conn}
	if _, err := fmt.Fprintf(out, "$%d\r\n", info.Size()); err != nil {
		return err
	}
	n, err := io.Copy(out, io.NewSectionReader(m.RDB, 0, info.Size()))
	if err == nil && n < info.Size() {
		err = fmt.Errorf("%s has become shorter", m.RDB.Name())
	}
	return err
}

// A patient connection gives each piece that is written the time that a silence may last.
type patient struct{ conn net.Conn }

func (p *patient) Write(b []byte) (int, error) {
	p.conn.SetWriteDeadline(time.Now().Add(idleTimeout))
	return p.conn.Write(b)
}

// follow lets the replica hear of its master until it goes.
func (m *Master) follow(in io.Reader, conn net.Conn) error {
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, in)
		ended <- err
	}()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ended:
			return nil
		case <-beat.C:
			conn.SetWriteDeadline(time.Now().Add(idleTimeout))
			if _, err := io.WriteString(conn, "*1\r\n$4\r\nPING\r\n"); err != nil {
				conn.Close()
				<-ended
				return nil
			}
		}
	}
}

// Facing returns where to listen for the one server at an address, host and port: at the address by which this host reaches it.
// From are the addresses that its connections may come from.
func Facing(ctx context.Context, server string) (listen netip.Addr, from []netip.Addr, err error) {
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		return listen, nil, fmt.Errorf("the server's address: %w", err)
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return listen, nil, fmt.Errorf("the server's address: %w", err)
	}
	for _, a := range found {
		from = append(from, a.Unmap())
	}
	conn, err := net.Dial("tcp", server)
	if err != nil {
		return listen, nil, fmt.Errorf("looking for the way to the server: %w", err)
	}
	defer conn.Close()
	own, err := netip.ParseAddrPort(conn.LocalAddr().String())
	return own.Addr().Unmap(), from, err
}
