package redis

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"permafrost/source"
)

const (
	// spoolChunk is what is put into a spool, and taken from it, at a time, in bytes.
	spoolChunk = 64 << 10

	// spoolMemory is how many chunks wait in memory before any go to the disk.
	spoolMemory = 16

	// defaultSpool bounds what waits on the disk, in bytes, unless Options say otherwise.
	defaultSpool = 1 << 30
)

// A spool takes what a Redis sends as fast as it comes, and gives it to a reader who is slower: Redis drops a replica that takes
// nothing for some time, and one that is far behind. What does not fit into a little memory waits in a file without a name, each
// chunk encrypted under a key that nobody but this value has. It holds no more than so many chunks at a time, and their places
// are used again.
type spool struct {
	src  io.Reader
	make func() (*os.File, error) // nil where there is no file to be had: then the source waits
	slot int64                    // bytes of a chunk in the file
	most int64                    // chunks in the file

	mu      sync.Mutex
	changed *sync.Cond
	memory  [][]byte // waiting, older than all that is in the file
	file    *os.File
	seal    cipher.AEAD
	sizes   []int // of the chunks in the file that wait, the oldest first
	first   int64 // number of the oldest
	closed  bool
	err     error // what the source ended with, io.EOF too
	done    chan struct{}

	rest []byte // of the chunk that is being read
}

// newSpool begins to take what src gives. It calls ended once src has come to its end. The file is asked for when it is needed.
func newSpool(src io.Reader, file func() (*os.File, error), limit int64, ended func()) (*spool, error) {
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	s := &spool{src: src, make: file, done: make(chan struct{})}
	if s.seal, err = cipher.NewGCM(block); err != nil {
		return nil, err
	}
	switch {
	case limit == 0:
		limit = defaultSpool
	case limit < 0:
		s.make = nil
	}
	s.slot = int64(spoolChunk + s.seal.Overhead())
	s.most = limit / s.slot
	s.changed = sync.NewCond(&s.mu)
	go func() {
		defer close(s.done)
		err := s.fill()
		ended()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.err = err
		s.changed.Broadcast()
	}()
	return s, nil
}

// fill puts all that the source gives into the spool, and returns what the source ended with.
func (s *spool) fill() error {
	for {
		chunk := make([]byte, spoolChunk)
		n, err := io.ReadFull(s.src, chunk)
		if n > 0 {
			if perr := s.put(chunk[:n]); perr != nil {
				return perr
			}
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = io.EOF
		}
		if err != nil {
			return err
		}
	}
}

var errSpoolClosed = errors.New("the dump is closed")

// put adds a chunk, which is the spool's from then on.
func (s *spool) put(chunk []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed && (len(s.sizes) > 0 || len(s.memory) == spoolMemory) && s.make == nil {
		s.changed.Wait()
	}
	switch {
	case s.closed:
		return errSpoolClosed
	case len(s.sizes) == 0 && len(s.memory) < spoolMemory:
		s.memory = append(s.memory, chunk)
		s.changed.Broadcast()
		return nil
	case int64(len(s.sizes)) >= s.most:
		return source.Because(CauseSpoolFull, fmt.Errorf("the storage is slower than Redis sends: more than %d MiB would have to wait on this disk", s.most*s.slot>>20))
	}
	if err := s.store(chunk); err != nil {
		return source.Because(CauseSpoolDisk, fmt.Errorf("keeping what Redis sends until the storage takes it: %w", err))
	}
	s.sizes = append(s.sizes, len(chunk))
	s.changed.Broadcast()
	return nil
}

// store writes a chunk behind those that wait in the file. The lock is let go meanwhile; nobody else writes.
func (s *spool) store(chunk []byte) (err error) {
	number := s.first + int64(len(s.sizes))
	s.mu.Unlock()
	defer s.mu.Lock()
	if s.file == nil {
		if s.file, err = s.make(); err != nil {
			return err
		}
	}
	_, err = s.file.WriteAt(s.seal.Seal(nil, s.nonce(number), chunk, nil), number%s.most*s.slot)
	return err
}

// nonce is the number of a chunk, which no other chunk under this key has.
func (s *spool) nonce(number int64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, s.seal.NonceSize()-8), uint64(number))
}

// Read implements io.Reader.
func (s *spool) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		if err := s.take(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// take waits for the oldest chunk and makes it the rest.
func (s *spool) take() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed && len(s.memory) == 0 && len(s.sizes) == 0 && s.err == nil {
		s.changed.Wait()
	}
	switch {
	case s.closed:
		return errSpoolClosed
	case len(s.memory) > 0:
		s.rest, s.memory = s.memory[0], s.memory[1:]
	case len(s.sizes) > 0:
		if err := s.load(); err != nil {
			return fmt.Errorf("reading what Redis has sent back from the state directory: %w", err)
		}
	default:
		return s.err
	}
	s.changed.Broadcast()
	return nil
}

// load reads the oldest chunk of the file. The lock is let go meanwhile; its place is not used again before the end.
func (s *spool) load() error {
	number, size := s.first, s.sizes[0]
	s.mu.Unlock()
	sealed := make([]byte, size+s.seal.Overhead())
	_, err := s.file.ReadAt(sealed, number%s.most*s.slot)
	if err == nil {
		s.rest, err = s.seal.Open(sealed[:0], s.nonce(number), sealed, nil)
	}
	s.mu.Lock()
	s.first, s.sizes = s.first+1, s.sizes[1:]
	return err
}

// Close ends the spool. What its source reads from must have been closed.
func (s *spool) Close() error {
	s.mu.Lock()
	s.closed = true
	s.changed.Broadcast()
	s.mu.Unlock()
	<-s.done
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
