package pack

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"

	"filippo.io/age"

	"permafrost/chunk"
	"permafrost/internal/parts"
	"permafrost/internal/wire"
	"permafrost/repo/keys"
	"permafrost/repo/store"
)

const (
	// Size is what packs aim at, in stored bytes: large enough that a pack costs the storage and a distant
	// connection little, small enough to hold a few in memory.
	Size = 16 << 20

	Magic      = "PFPACK\x00\x01"
	EndMagic   = "PFPEND\x00\x01"
	footerSize = 8 + len(EndMagic)

	// sampleEvery says that about one pack in so many is decrypted again before it leaves.
	sampleEvery = 16
)

// A Pack is what the index holds of a pack.
type Pack struct {
	Name   store.Name
	Size   int64 // stored bytes
	Header int   // bytes of the age header and the nonce behind it
	Directory
}

// Append encodes the pack as an index object and the journal hold it.
func (p *Pack) Append(b []byte) []byte {
	dir := p.Directory.Append(nil)
	b = append(b, p.Name[:]...)
	b = binary.AppendUvarint(b, uint64(p.Size))
	b = binary.AppendUvarint(b, uint64(p.Header))
	b = binary.AppendUvarint(b, uint64(len(dir)))
	return append(b, dir...)
}

// Parse reads what append wrote.
func Parse(r *wire.Reader) *Pack {
	p := new(Pack)
	copy(p.Name[:], r.Bytes(len(p.Name)))
	p.Size = int64(r.Uvarint(store.MaxObject))
	p.Header = int(r.Uvarint(MaxAgeHeader))
	dir := r.Bytes(r.Count(store.MaxObject, 1))
	if r.Err() != nil {
		return nil
	}
	d, err := parseDirectory(dir)
	if err != nil {
		r.Fail(err)
		return nil
	}
	p.Directory = *d
	// All that is read of the pack is computed from these: they must fit each other to the byte.
	plain := int64(len(Magic) + len(dir) + footerSize)
	for _, f := range d.Frames {
		plain += int64(f.Stored)
	}
	if int64(p.Header) >= p.Size || PlainSize(p.Size, p.Header) != plain {
		r.Fail(errors.New("a pack's size and its directory do not fit"))
		return nil
	}
	return p
}

// MaxAgeHeader bounds the age header of a pack with its nonce: one hybrid stanza is 1.6 KiB.
const MaxAgeHeader = 16 << 10

// A builder writes one pack into memory: frames are encrypted as they come, so that no plaintext of a whole
// pack is ever held. After an error every call fails.
type builder struct {
	Pack
	more   func() ([]byte, error) // gives an empty segment
	out    [][]byte               // the pack as far as it is encrypted, in segments
	sum    hash.Hash              // over out
	age    io.WriteCloser
	plain  int       // bytes of plaintext so far
	dir    int       // bytes that the directory will take, or a little more
	sample hash.Hash // over the plaintext, for a pack that is read again
	to     *Recipient
	err    error
}

// newBuilder starts a pack for an instance, in segments that more gives.
func newBuilder(more func() ([]byte, error), epoch *keys.Epoch, instance string, c Component) (*builder, error) {
	b := &builder{more: more, sum: sha256.New()}
	b.Epoch, b.Component = epoch.Number, c
	rcpt := epoch.DataRecipient
	if c == Meta {
		rcpt = epoch.MetaIdentity.Recipient()
	}
	b.to = &Recipient{HybridRecipient: rcpt, Instance: instance}
	w, err := age.Encrypt((*sink)(b), b.to)
	if err != nil {
		return nil, fmt.Errorf("encrypting a pack: %w", err)
	}
	b.age = w
	if rand.IntN(sampleEvery) == 0 {
		b.sample = sha256.New()
	}
	b.Header = int(b.Size) // age has written its header and the nonce, and no more
	b.write([]byte(Magic))
	return b, b.err
}

// sink receives the ciphertext.
type sink builder

func (s *sink) Write(p []byte) (int, error) {
	s.sum.Write(p)
	s.Size += int64(len(p))
	for rest := p; len(rest) > 0; {
		last := len(s.out) - 1
		if last < 0 || len(s.out[last]) == cap(s.out[last]) {
			segment, err := s.more()
			if err != nil {
				return 0, err
			}
			s.out = append(s.out, segment)
			last++
		}
		to := s.out[last]
		n := min(len(rest), cap(to)-len(to))
		s.out[last] = append(to, rest[:n]...)
		rest = rest[n:]
	}
	return len(p), nil
}

func (b *builder) write(p []byte) {
	if b.err != nil {
		return
	}
	if b.sample != nil {
		b.sample.Write(p)
	}
	b.plain += len(p)
	_, b.err = b.age.Write(p)
}

// add appends an encoded frame.
func (b *builder) add(f Frame, stored []byte) error {
	b.write(stored)
	b.Frames = append(b.Frames, f)
	b.dir += 8 + len(f.Blobs)*(chunk.Size+4)
	return b.err
}

// full reports whether a frame of n more stored bytes belongs into the next pack.
func (b *builder) full(n int) bool { return len(b.Frames) > 0 && b.plain+b.dir+n > Size }

// finish writes the directory and returns the pack, and its bytes in segments.
func (b *builder) finish() (*Pack, [][]byte, error) {
	dir := b.Directory.Append(nil)
	b.write(dir)
	foot := binary.LittleEndian.AppendUint64(nil, uint64(len(dir)))
	b.write(append(foot, EndMagic...))
	if b.err != nil {
		return nil, nil, fmt.Errorf("encrypting a pack: %w", b.err)
	}
	if err := b.age.Close(); err != nil {
		return nil, nil, fmt.Errorf("encrypting a pack: %w", err)
	}
	b.err = errors.New("pack is finished")
	b.sum.Sum(b.Name[:0])
	if b.sample != nil {
		if err := b.readBack(); err != nil {
			return nil, nil, fmt.Errorf("a pack that was just encrypted decrypts to something else: this machine's memory may be faulty: %w", err)
		}
	}
	p := b.Pack // what else the builder has is not to live as long
	return &p, b.out, nil
}

// readBack decrypts the finished pack with the file key that sealed it: a host that can't read packs can still
// see that it has written a good one.
func (b *builder) readBack() error {
	r, err := age.Decrypt(parts.Reader(b.out), age.NewInjectedFileKeyIdentity(b.to.key))
	if err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return err
	}
	if !bytes.Equal(h.Sum(nil), b.sample.Sum(nil)) {
		return errors.New("content differs")
	}
	return nil
}

// ReadDirectory returns the directory of a decrypted pack of size bytes.
func ReadDirectory(plain io.ReaderAt, size int64) (*Directory, error) {
	foot := make([]byte, footerSize)
	if size < int64(len(Magic)+footerSize) {
		return nil, errors.New("pack is too short")
	}
	if _, err := plain.ReadAt(foot, size-int64(footerSize)); err != nil && err != io.EOF {
		return nil, err
	}
	if string(foot[8:]) != EndMagic {
		return nil, fmt.Errorf("pack does not end in its mark")
	}
	n := binary.LittleEndian.Uint64(foot)
	if n > uint64(size)-uint64(len(Magic)+footerSize) {
		return nil, errors.New("pack directory is longer than the pack")
	}
	dir := make([]byte, n)
	if _, err := plain.ReadAt(dir, size-int64(footerSize)-int64(n)); err != nil && err != io.EOF {
		return nil, err
	}
	d, err := parseDirectory(dir)
	if err != nil {
		return nil, err
	}
	stored := int64(0)
	for _, f := range d.Frames {
		stored += int64(f.Stored)
	}
	if want := int64(len(Magic)) + stored + int64(n) + int64(footerSize); want != size {
		return nil, fmt.Errorf("pack has %d bytes, its directory says %d", size, want)
	}
	return d, nil
}
