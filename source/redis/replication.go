package redis

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxReply = 64 << 10 // a line of the replication handshake, in bytes
	markSize = 40       // random bytes behind an RDB of unknown length

	// streamBuffer holds what Redis has sent and nobody has read yet, in bytes.
	streamBuffer = 256 << 10
)

// replicate asks for the data set as a replica does, on a connection of its own. It returns once Redis
// begins to send the RDB; what Redis would send after it is not waited for.
//
// It names no port, as it serves nobody. A Sentinel that asks Redis meanwhile lists a replica with port 0, as
// down, until SENTINEL RESET; it can't be made a master.
func (s *Server) replicate(ctx context.Context) (*Dump, error) {
	before := s.last.Load()
	conn, err := s.dial(ctx, s.conf.Addr)
	if err != nil {
		return nil, err
	}
	s.last.Store(before) // who is asked about the other end is still there when this connection has ended
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	closer := sync.OnceValue(func() error {
		stop()
		return conn.Close()
	})
	l := &link{conn: conn, timeout: idleTimeout, begin: time.Now().Add(saveTime)}
	l.r = bufio.NewReaderSize(l, streamBuffer)
	var d *Dump
	rdb, err := l.sync(s.conf.User, s.conf.Password)
	if err == nil {
		d, err = s.spooled(ctx, rdb, closer)
	}
	if err != nil {
		closer()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return d, nil
}

// spooled returns a Dump of what comes by replication, as fast as it comes.
func (s *Server) spooled(ctx context.Context, rdb io.Reader, closer func() error) (*Dump, error) {
	sp, err := newSpool(rdb, s.opts.SpoolFile, s.opts.SpoolLimit, func() { closer() })
	if err != nil {
		return nil, err
	}
	end := func() error { return errors.Join(closer(), sp.Close()) }
	d, err := s.newDump(ctx, replication, sp, end)
	if err != nil {
		end()
	}
	return d, err
}

// A link is a connection that speaks Redis's protocol as far as a replica's full synchronization needs it.
type link struct {
	conn    net.Conn
	r       *bufio.Reader // over the link itself
	timeout time.Duration // of silence
	begin   time.Time     // when the RDB must have begun, however much the server says before it; zero once it has
}

// Read reads from the connection, for in.
func (l *link) Read(p []byte) (int, error) {
	until := time.Now().Add(l.timeout)
	if !l.begin.IsZero() && l.begin.Before(until) {
		until = l.begin
	}
	if err := l.conn.SetReadDeadline(until); err != nil {
		return 0, err
	}
	n, err := l.conn.Read(p)
	if until.Equal(l.begin) && errors.Is(err, os.ErrDeadlineExceeded) {
		return n, errSlow
	}
	if err != nil {
		err = timeoutError(lost(err))
	}
	return n, err
}

// sync asks for a full synchronization and returns a reader of its RDB.
func (l *link) sync(user, password string) (io.Reader, error) {
	if password != "" {
		auth := []string{"AUTH", user, password}
		if user == "" {
			auth = []string{"AUTH", password}
		}
		if _, err := l.do(auth...); err != nil {
			return nil, err
		}
	}
	// The first spares Redis 7 and later the buffer of all later writes; the second tells that an RDB may be
	// sent before its length is known. A Redis that knows, or allows, neither sends one as well.
	for _, conf := range [][]string{{"REPLCONF", "rdb-only", "1"}, {"REPLCONF", "capa", "eof"}} {
		if _, err := l.do(conf...); err != nil && !replied(err) {
			return nil, err
		}
	}
	// A replica's ACL user may have PSYNC alone; SYNC is the older one.
	reply, err := l.do("PSYNC", "?", "-1")
	if err == nil && !strings.HasPrefix(reply, "+FULLRESYNC ") {
		return nil, fmt.Errorf("unexpected reply to PSYNC: %.100q", reply)
	}
	switch {
	case err == nil:
		reply, err = l.reply()
	case unavailable(err):
		denied := err
		if reply, err = l.do("SYNC"); unavailable(err) {
			err = denied
		}
	}
	if err != nil {
		return nil, err
	}
	l.begin = time.Time{}
	return l.payload(reply)
}

// unavailable reports whether Redis has or grants no such command.
func unavailable(err error) bool { return replied(err, "NOPERM", "ERR unknown command") }

// payload returns a reader of the RDB that header announces: $LENGTH, or $EOF:MARK where the RDB is sent
// while it is made, and MARK behind it.
func (l *link) payload(header string) (io.Reader, error) {
	size, ok := strings.CutPrefix(header, "$")
	if !ok {
		return nil, fmt.Errorf("unexpected reply instead of an RDB: %.100q", header)
	}
	if mark, ok := strings.CutPrefix(size, "EOF:"); ok {
		if len(mark) != markSize {
			return nil, fmt.Errorf("RDB is announced with a mark of %d bytes, want %d", len(mark), markSize)
		}
		return &markReader{r: l.r, mark: []byte(mark)}, nil
	}
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("RDB is announced with the length %.100q", size)
	}
	return io.LimitReader(l.r, n), nil
}

// do sends a command and returns its reply, one line.
func (l *link) do(args ...string) (string, error) {
	if err := l.send(args...); err != nil {
		return "", err
	}
	return l.reply()
}

func (l *link) send(args ...string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if err := l.conn.SetWriteDeadline(time.Now().Add(replyTimeout)); err != nil {
		return err
	}
	_, err := l.conn.Write(b.Bytes())
	return lost(err)
}

// reply returns the next line without its end, an error reply as an error. Empty lines are Redis's sign that
// it is still at work.
func (l *link) reply() (string, error) {
	for {
		line, err := l.line()
		switch {
		case err != nil:
			return "", err
		case line == "":
		case line[0] == '-':
			return "", replyError(line[1:])
		default:
			return line, nil
		}
	}
}

func (l *link) line() (string, error) {
	var line []byte
	for {
		c, err := l.r.ReadByte()
		switch {
		case err != nil:
			return "", err
		case c == '\n':
			return string(bytes.TrimSuffix(line, []byte("\r"))), nil
		case len(line) == maxReply:
			return "", errors.New("a reply is too long")
		}
		line = append(line, c)
	}
}

// A markReader reads r up to a mark, which must come.
type markReader struct {
	r     *bufio.Reader
	mark  []byte
	clear int // bytes in r's buffer that are known to stand before the mark
	done  bool
}

// Read implements io.Reader.
func (m *markReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if m.clear == 0 && !m.done {
		if err := m.search(); err != nil {
			return 0, err
		}
	}
	if m.done && m.clear == 0 {
		return 0, io.EOF
	}
	n, err := m.r.Read(p[:min(m.clear, len(p))])
	m.clear -= n
	return n, err
}

// search looks for the mark in what has come.
func (m *markReader) search() error {
	if _, err := m.r.Peek(len(m.mark)); err != nil {
		return err
	}
	ready, err := m.r.Peek(m.r.Buffered())
	m.clear = bytes.Index(ready, m.mark)
	if m.done = m.clear >= 0; !m.done {
		m.clear = len(ready) - len(m.mark) + 1 // the mark may begin behind that
	}
	return err
}
