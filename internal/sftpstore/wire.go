package sftpstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/pkg/sftp"
)

const (
	ownIDs     = 1 << 31   // our requests' numbers begin here; the library counts from 1
	maxMessage = 1 << 10   // bytes kept of what a server says about a failure
	headLength = 4 + 1 + 4 // a packet's length, type and number
)

// A wire lies between the library and a line, and carries our own requests beside the library's: the library keeps all that
// a server says about a directory, without end, before it shows any of it.
type wire struct {
	*line
	sending sync.Mutex // held from a packet's first byte to its last
	unsent  int        // bytes of the library's packet

	head   []byte // what the library reads next
	unread int    // bytes that the library reads from the line after that

	mu    sync.Mutex
	asked map[uint32]chan []byte // answers by number
	last  uint32
}

func newWire(l *line) *wire { return &wire{line: l, asked: make(map[uint32]chan []byte), last: ownIDs} }

// Write sends what the library does: the head of a packet in one piece, and the rest in another one.
func (w *wire) Write(p []byte) (int, error) {
	if w.unsent == 0 {
		w.sending.Lock()
		w.unsent = 4 + int(binary.BigEndian.Uint32(p))
	}
	n, err := w.line.Write(p)
	if w.unsent -= n; err != nil {
		w.unsent = 0
	}
	if w.unsent == 0 {
		w.sending.Unlock()
	}
	return n, err
}

// Read returns what is meant for the library.
func (w *wire) Read(p []byte) (int, error) {
	for len(w.head) == 0 && w.unread == 0 {
		if err := w.next(); err != nil {
			w.kill()
			return 0, err
		}
	}
	if len(w.head) > 0 {
		n := copy(p, w.head)
		w.head = w.head[n:]
		return n, nil
	}
	n, err := w.line.Read(p[:min(len(p), w.unread)])
	w.unread -= n
	return n, err
}

// next reads the head of a packet. One that answers us it reads whole and hands over.
func (w *wire) next() error {
	head := make([]byte, headLength)
	if _, err := io.ReadFull(w.line, head); err != nil {
		return err
	}
	length, kind, id := binary.BigEndian.Uint32(head), head[4], binary.BigEndian.Uint32(head[5:])
	if length < headLength-4 || length > maxPacket {
		return fmt.Errorf("the server sent a packet of %d bytes", length)
	}
	w.mu.Lock()
	answer := w.asked[id]
	delete(w.asked, id)
	w.mu.Unlock()
	if answer == nil && kind != fxpStatus {
		w.head, w.unread = head, int(length)-(headLength-4)
		return nil
	}
	packet := append(head, make([]byte, length-(headLength-4))...)
	if _, err := io.ReadFull(w.line, packet[headLength:]); err != nil {
		return err
	}
	if answer == nil {
		w.head = shorten(packet)
		return nil
	}
	answer <- packet
	return nil
}

// shorten cuts what a status says.
func shorten(status []byte) []byte {
	const text = headLength + 4 + 4 // after the code and the text's length
	if len(status) <= text+maxMessage {
		return status
	}
	short := append(status[:text+maxMessage:text+maxMessage], 0, 0, 0, 0) // no language
	binary.BigEndian.PutUint32(short, uint32(len(short)-4))
	binary.BigEndian.PutUint32(short[text-4:], maxMessage)
	return short
}

// ask sends a request whose one field is a text, and returns the fields of the answer, which has to be of a kind. A status
// is an error.
func (w *wire) ask(ctx context.Context, request byte, text string, kind byte) (*fields, error) {
	answer := make(chan []byte, 1)
	w.mu.Lock()
	w.last = max(w.last+1, ownIDs)
	id := w.last
	w.asked[id] = answer
	w.mu.Unlock()
	packet := binary.BigEndian.AppendUint32(nil, uint32(headLength+len(text)))
	packet = binary.BigEndian.AppendUint32(append(packet, request), id)
	packet = append(binary.BigEndian.AppendUint32(packet, uint32(len(text))), text...)
	w.sending.Lock()
	_, err := w.line.Write(packet)
	w.sending.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case packet = <-answer:
	case <-w.dead:
		return nil, errLost
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f := &fields{rest: packet[headLength:]}
	switch packet[4] {
	case kind:
		return f, nil
	case fxpStatus:
		return nil, statusError(f)
	}
	return nil, fmt.Errorf("the server answers with a packet of type %d where %d is due", packet[4], kind)
}

// statusError makes an error of a status, of the same kinds as the library's.
func statusError(f *fields) error {
	code := f.uint32()
	if f.cut {
		return errCut
	}
	text := f.text() // older servers have none
	switch code {
	case fxEOF:
		return io.EOF
	case fxNoSuchFile:
		return fs.ErrNotExist
	case fxPermissionDenied:
		return fs.ErrPermission
	}
	return fmt.Errorf("the server says %.*q: %w", maxMessage, text, &sftp.StatusError{Code: code})
}

var errCut = errors.New("the server sent a packet whose fields are longer than the packet")

// fields are what of a packet is still to be read. Whatever lies beyond its end reads as zero, and sets cut.
type fields struct {
	rest []byte
	cut  bool
}

func (f *fields) take(n uint64) []byte {
	if n > uint64(len(f.rest)) {
		f.cut, f.rest = true, nil
		return nil
	}
	p := f.rest[:n]
	f.rest = f.rest[n:]
	return p
}

func (f *fields) uint32() uint32 {
	if p := f.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (f *fields) uint64() uint64 { return uint64(f.uint32())<<32 | uint64(f.uint32()) }

func (f *fields) text() []byte { return f.take(uint64(f.uint32())) }
