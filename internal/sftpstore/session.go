package sftpstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"

	"permafrost/internal/sshconn"
)

// errLost is what an operation ends with when its connection does. Whether it was done is then unknown.
var errLost = errors.New("the connection was lost")

const (
	// Every server takes this many bytes a packet.
	smallPacket = 32 << 10
	// OpenSSH takes 255 KiB of data in a packet of 256 KiB, and so does the library.
	largePacket = 255 << 10
)

// A session is one SFTP channel.
type session struct {
	*sftp.Client
	line  *line
	wire  *wire
	rtt   time.Duration // of the first question
	fsync bool          // extensions that the server has
	link  bool
}

// newSession starts the protocol on a stream of a connection. Where it fails it ends both.
func newSession(ctx context.Context, conn io.Closer, stream sshconn.Stream, timeout time.Duration) (*session, error) {
	l := &line{rwc: stream, conn: conn, dead: make(chan struct{})}
	stop := context.AfterFunc(ctx, l.kill)
	defer stop()
	version, packet, rtt, err := negotiate(stream) // not by way of the line, which would end a process that is about to say why it fails
	if err != nil {
		if !permanent(err) && ctx.Err() == nil {
			err = stream.Explain(err)
		}
		l.kill()
		return nil, fmt.Errorf("starting SFTP: %w", err)
	}
	// The library begins with what is done already: it gets to hear the same answer, and what it sends is dropped.
	w := newWire(l)
	client, err := sftp.NewClientPipe(io.MultiReader(bytes.NewReader(version), w), &skipWriter{w, len(initPacket)},
		sftp.MaxPacketUnchecked(packet), sftp.UseConcurrentWrites(true))
	if err != nil {
		l.kill()
		return nil, fmt.Errorf("starting SFTP: %w", err)
	}
	s := &session{Client: client, line: l, wire: w, rtt: rtt}
	if rtt == 0 {
		start := time.Now()
		if _, err := client.RealPath("."); err != nil {
			client.Close()
			return nil, fmt.Errorf("starting SFTP: %w", refusal(err))
		}
		s.rtt = time.Since(start)
	}
	_, s.fsync = client.HasExtension("fsync@openssh.com")
	_, s.link = client.HasExtension("hardlink@openssh.com")
	go l.watch(timeout)
	return s, nil
}

// refusal makes an error permanent that is a server's answer to a first question: it serves this account nothing.
func refusal(err error) error {
	if !definite(err) {
		return err
	}
	return permanentError{&sshconn.CauseError{Cause: sshconn.CauseAccountUseless, Err: err}}
}

// lost tells whether err says that the connection was lost rather than what the server thinks of the request.
func (s *session) lost(err error) bool {
	if err == nil || definite(err) {
		return false
	}
	if errors.Is(err, errLost) || errors.Is(err, sftp.ErrSSHFxConnectionLost) {
		s.line.kill()
	}
	return s.line.isDead()
}

// definite tells whether err is a server's answer.
func definite(err error) bool {
	var status *sftp.StatusError
	return errors.As(err, &status) || err == io.EOF ||
		errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrPermission)
}

// A line is the byte stream of a session. It ends with its connection, and ends it: what is wrong with one channel of
// a connection is rarely right with the others.
type line struct {
	rwc   io.ReadWriteCloser
	conn  io.Closer
	heard atomic.Int64 // when the server said something last, or was first asked since; Unix nanoseconds
	busy  atomic.Int32 // operations under way
	once  sync.Once
	dead  chan struct{}
}

func (l *line) Read(p []byte) (int, error) {
	n, err := l.rwc.Read(p)
	if n > 0 {
		l.heard.Store(time.Now().UnixNano())
	}
	if err != nil {
		l.kill()
	}
	return n, err
}

// Write never returns io.EOF, as an SSH channel does, lest it be taken for the end of a file.
func (l *line) Write(p []byte) (int, error) {
	n, err := l.rwc.Write(p)
	if err != nil {
		l.kill()
		err = fmt.Errorf("%w: %v", errLost, err)
	}
	return n, err
}

func (l *line) Close() error {
	l.kill()
	return nil
}

func (l *line) kill() {
	l.once.Do(func() {
		close(l.dead)
		l.conn.Close()
		l.rwc.Close()
	})
}

func (l *line) isDead() bool {
	select {
	case <-l.dead:
		return true
	default:
		return false
	}
}

// begin and end enclose an operation.
func (l *line) begin() {
	if l.busy.Add(1) == 1 {
		l.heard.Store(time.Now().UnixNano())
	}
}

func (l *line) end() { l.busy.Add(-1) }

// watch ends the session where the server is asked and says nothing for five times the timeout: the connection is
// there, but the process at its other end hangs. An fsync may well take a minute.
func (l *line) watch(timeout time.Duration) {
	tick := time.NewTicker(timeout)
	defer tick.Stop()
	for {
		select {
		case <-l.dead:
			return
		case <-tick.C:
		}
		if l.busy.Load() > 0 && time.Since(time.Unix(0, l.heard.Load())) > 5*timeout {
			l.kill()
			return
		}
	}
}

// skipWriter drops the first bytes.
type skipWriter struct {
	*wire
	skip int
}

func (w *skipWriter) Write(p []byte) (int, error) {
	n := min(w.skip, len(p))
	w.skip -= n
	if n == len(p) {
		return n, nil
	}
	m, err := w.wire.Write(p[n:])
	return n + m, err
}

// Packets of the protocol, draft-ietf-secsh-filexfer-02, and of OpenSSH's PROTOCOL file.
const (
	fxpVersion       = 2
	fxpClose         = 4
	fxpOpendir       = 11
	fxpReaddir       = 12
	fxpStatus        = 101
	fxpHandle        = 102
	fxpName          = 104
	fxpExtended      = 200
	fxpExtendedReply = 201

	// Of a status.
	fxEOF              = 1
	fxNoSuchFile       = 2
	fxPermissionDenied = 3

	maxPacket = 256 << 10
)

var initPacket = []byte{0, 0, 0, 5, 1, 0, 0, 0, 3} // version 3

// negotiate greets the server and asks it for its limits. It returns the server's greeting, as it came, how many bytes
// of data to put in a packet, and how long the answer about the limits took, 0 if there are none: the greeting takes as
// long as the server needs to start.
func negotiate(rw io.ReadWriter) (version []byte, packet int, rtt time.Duration, err error) {
	if _, err := rw.Write(initPacket); err != nil {
		return nil, 0, 0, err
	}
	if version, err = readPacket(rw); err != nil {
		return nil, 0, 0, fmt.Errorf("reading the server's greeting: %w", err)
	}
	if version[4] != fxpVersion {
		return nil, 0, 0, errors.New("reading the server's greeting: it is none")
	}
	const limits = "limits@openssh.com"
	if !bytes.Contains(version, append([]byte{0, 0, 0, byte(len(limits))}, limits...)) {
		return version, smallPacket, 0, nil
	}
	start := time.Now()
	ask := append([]byte{0, 0, 0, byte(9 + len(limits)), fxpExtended, 0, 0, 0, 0, 0, 0, 0, byte(len(limits))}, limits...)
	if _, err := rw.Write(ask); err != nil {
		return nil, 0, 0, err
	}
	answer, err := readPacket(rw)
	if err != nil {
		return nil, 0, 0, fmt.Errorf("reading the server's limits: %w", err)
	}
	if answer[4] == fxpStatus {
		return version, smallPacket, 0, nil // a server that refuses everything says why to the next question
	}
	return version, packetSize(answer), time.Since(start), nil
}

// packetSize reads the answer to limits@openssh.com: the longest packet, read and write, and the most open handles,
// each of 64 bits, and 0 for no limit that the server cares to name.
func packetSize(answer []byte) int {
	if answer[4] != fxpExtendedReply || len(answer) < 9+3*8 {
		return smallPacket
	}
	size := uint64(largePacket)
	for _, off := range []int{9 + 8, 9 + 16} {
		limit := binary.BigEndian.Uint64(answer[off:])
		if limit == 0 {
			limit = smallPacket
		}
		size = min(size, limit)
	}
	if whole := binary.BigEndian.Uint64(answer[9:]); whole > 1<<10 {
		size = min(size, whole-1<<10)
	}
	return max(int(size), 1<<10)
}

// readPacket reads one packet, its length included: five bytes at least.
func readPacket(r io.Reader) ([]byte, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		if err == io.EOF {
			err = errors.New("the server closed the connection")
		}
		return nil, err
	}
	length := binary.BigEndian.Uint32(head)
	if length == 0 || length > maxPacket {
		said := append(head, make([]byte, maxMessage)...)
		n, _ := r.Read(said[len(head):])
		return nil, permanentError{becausef(CauseNotSFTP, "the server speaks something else than SFTP: %q", bytes.TrimSpace(said[:len(head)+n]))}
	}
	packet := append(head, make([]byte, length)...)
	_, err := io.ReadFull(r, packet[4:])
	return packet, err
}
