package repo

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
	// PackSize is what packs aim at, in stored bytes: large enough that a pack costs the storage and a distant
	// connection little, small enough to hold a few in memory.
	PackSize = 16 << 20

	packMagic  = "PFPACK\x00\x01"
	packEnd    = "PFPEND\x00\x01"
	packFooter = 8 + len(packEnd)

	// sampleEvery says that about one pack in so many is decrypted again before it leaves.
	sampleEvery = 16
)

// A pack is what the index holds of a pack.
type pack struct {
	name   store.Name
	size   int64 // stored bytes
	header int   // bytes of the age header and the nonce behind it
	directory
}

// append encodes the pack as an index object and the journal hold it.
func (p *pack) append(b []byte) []byte {
	dir := p.directory.append(nil)
	b = append(b, p.name[:]...)
	b = binary.AppendUvarint(b, uint64(p.size))
	b = binary.AppendUvarint(b, uint64(p.header))
	b = binary.AppendUvarint(b, uint64(len(dir)))
	return append(b, dir...)
}

// parsePack reads what append wrote.
func parsePack(r *wire.Reader) *pack {
	p := new(pack)
	copy(p.name[:], r.Bytes(len(p.name)))
	p.size = int64(r.Uvarint(store.MaxObject))
	p.header = int(r.Uvarint(maxAgeHeader))
	dir := r.Bytes(r.Count(store.MaxObject, 1))
	if r.Err() != nil {
		return nil
	}
	d, err := parseDirectory(dir)
	if err != nil {
		r.Fail(err)
		return nil
	}
	p.directory = *d
	// All that is read of the pack is computed from these: they must fit each other to the byte.
	plain := int64(len(packMagic) + len(dir) + packFooter)
	for _, f := range d.frames {
		plain += int64(f.stored)
	}
	if int64(p.header) >= p.size || plainSize(p.size, p.header) != plain {
		r.Fail(errors.New("a pack's size and its directory do not fit"))
		return nil
	}
	return p
}

// maxAgeHeader bounds the age header of a pack with its nonce: one hybrid stanza is 1.6 KiB.
const maxAgeHeader = 16 << 10

// A packBuilder writes one pack into memory: frames are encrypted as they come, so that no plaintext of a whole
// pack is ever held. After an error every call fails.
type packBuilder struct {
	pack
	more   func() ([]byte, error) // gives an empty segment
	out    [][]byte               // the pack as far as it is encrypted, in segments
	sum    hash.Hash              // over out
	age    io.WriteCloser
	plain  int       // bytes of plaintext so far
	dir    int       // bytes that the directory will take, or a little more
	sample hash.Hash // over the plaintext, for a pack that is read again
	to     *packRecipient
	err    error
}

// newPackBuilder starts a pack for an instance, in segments that more gives.
func newPackBuilder(more func() ([]byte, error), epoch *keys.Epoch, instance string, c Component) (*packBuilder, error) {
	b := &packBuilder{more: more, sum: sha256.New()}
	b.epoch, b.component = epoch.Number, c
	rcpt := epoch.DataRecipient
	if c == Meta {
		rcpt = epoch.MetaIdentity.Recipient()
	}
	b.to = &packRecipient{HybridRecipient: rcpt, instance: instance}
	w, err := age.Encrypt((*packSink)(b), b.to)
	if err != nil {
		return nil, fmt.Errorf("encrypting a pack: %w", err)
	}
	b.age = w
	if rand.IntN(sampleEvery) == 0 {
		b.sample = sha256.New()
	}
	b.header = int(b.size) // age has written its header and the nonce, and no more
	b.write([]byte(packMagic))
	return b, b.err
}

// packSink receives the ciphertext.
type packSink packBuilder

func (s *packSink) Write(p []byte) (int, error) {
	s.sum.Write(p)
	s.size += int64(len(p))
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

func (b *packBuilder) write(p []byte) {
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
func (b *packBuilder) add(f frame, stored []byte) error {
	b.write(stored)
	b.frames = append(b.frames, f)
	b.dir += 8 + len(f.blobs)*(chunk.Size+4)
	return b.err
}

// full reports whether a frame of n more stored bytes belongs into the next pack.
func (b *packBuilder) full(n int) bool { return len(b.frames) > 0 && b.plain+b.dir+n > PackSize }

// finish writes the directory and returns the pack, and its bytes in segments.
func (b *packBuilder) finish() (*pack, [][]byte, error) {
	dir := b.directory.append(nil)
	b.write(dir)
	foot := binary.LittleEndian.AppendUint64(nil, uint64(len(dir)))
	b.write(append(foot, packEnd...))
	if b.err != nil {
		return nil, nil, fmt.Errorf("encrypting a pack: %w", b.err)
	}
	if err := b.age.Close(); err != nil {
		return nil, nil, fmt.Errorf("encrypting a pack: %w", err)
	}
	b.err = errors.New("pack is finished")
	b.sum.Sum(b.name[:0])
	if b.sample != nil {
		if err := b.readBack(); err != nil {
			return nil, nil, fmt.Errorf("a pack that was just encrypted decrypts to something else: this machine's memory may be faulty: %w", err)
		}
	}
	p := b.pack // what else the builder has is not to live as long
	return &p, b.out, nil
}

// readBack decrypts the finished pack with the file key that sealed it: a host that can't read packs can still
// see that it has written a good one.
func (b *packBuilder) readBack() error {
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

// readDirectory returns the directory of a decrypted pack of size bytes.
func readDirectory(plain io.ReaderAt, size int64) (*directory, error) {
	foot := make([]byte, packFooter)
	if size < int64(len(packMagic)+packFooter) {
		return nil, errors.New("pack is too short")
	}
	if _, err := plain.ReadAt(foot, size-int64(packFooter)); err != nil && err != io.EOF {
		return nil, err
	}
	if string(foot[8:]) != packEnd {
		return nil, fmt.Errorf("pack does not end in its mark")
	}
	n := binary.LittleEndian.Uint64(foot)
	if n > uint64(size)-uint64(len(packMagic)+packFooter) {
		return nil, errors.New("pack directory is longer than the pack")
	}
	dir := make([]byte, n)
	if _, err := plain.ReadAt(dir, size-int64(packFooter)-int64(n)); err != nil && err != io.EOF {
		return nil, err
	}
	d, err := parseDirectory(dir)
	if err != nil {
		return nil, err
	}
	stored := int64(0)
	for _, f := range d.frames {
		stored += int64(f.stored)
	}
	if want := int64(len(packMagic)) + stored + int64(n) + int64(packFooter); want != size {
		return nil, fmt.Errorf("pack has %d bytes, its directory says %d", size, want)
	}
	return d, nil
}
