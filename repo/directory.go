package repo

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"permafrost/chunk"
	"permafrost/internal/wire"
	"permafrost/repo/store"
)

// A Component says what a blob is part of. Blobs of different components never share a pack: they age
// differently, and only Meta may be read on the host that makes the snapshots.
type Component byte

// The components, as they are numbered in pack directories.
const (
	Meta    Component = iota // listings and recipes: encrypted to the meta recipient
	Secrets                  // and all below to the data recipient
	Postgres
	Redis
	Media
	componentCount
)

var componentNames = [componentCount]string{"meta", "secrets", "postgres", "redis", "media"}

func (c Component) String() string {
	if c < componentCount {
		return componentNames[c]
	}
	return fmt.Sprintf("component %d", byte(c))
}

// frameSize is how much plaintext goes into one frame. Streams age: a later night's recipe takes a little from
// many frames, and each must be decoded whole. Files are read whole, and compress better together.
func (c Component) frameSize() int {
	if c == Media {
		return 1 << 20
	}
	return 128 << 10
}

const (
	maxFrame  = 16 << 20 // bytes of plaintext, and of stored frame
	maxFrames = 1 << 20  // in one pack
	maxEpoch  = 1 << 20
)

// A codec says how a frame's bytes are stored.
type codec byte

const (
	codecRaw codec = iota
	codecZstd
	codecCount
)

// A blobRef is a blob's place in a frame's list.
type blobRef struct {
	id     chunk.ID
	length int
}

// A frame is what the directory says of one.
type frame struct {
	codec  codec
	stored int // bytes in the pack
	blobs  []blobRef
}

// length is the frame's plaintext length in bytes.
func (f *frame) length() int {
	n := 0
	for _, b := range f.blobs {
		n += b.length
	}
	return n
}

// A directory is a pack's table of contents.
type directory struct {
	epoch     uint32
	component Component
	frames    []frame
}

// append encodes the directory behind b.
func (d *directory) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(d.epoch))
	b = binary.AppendUvarint(b, uint64(d.component))
	b = binary.AppendUvarint(b, uint64(len(d.frames)))
	for _, f := range d.frames {
		b = append(b, byte(f.codec))
		b = binary.AppendUvarint(b, uint64(f.stored))
		b = binary.AppendUvarint(b, uint64(len(f.blobs)))
		for _, bl := range f.blobs {
			b = append(b, bl.id[:]...)
			b = binary.AppendUvarint(b, uint64(bl.length))
		}
	}
	return b
}

// parseDirectory reads what append wrote, all of b.
func parseDirectory(b []byte) (*directory, error) {
	r := wire.NewReader(b)
	d := &directory{
		epoch:     uint32(r.Uvarint(maxEpoch)),
		component: Component(r.Uvarint(uint64(componentCount - 1))),
	}
	d.frames = make([]frame, r.Count(maxFrames, 3+chunk.Size+1))
	total := 0
	for i := range d.frames {
		f := &d.frames[i]
		f.codec = codec(r.Byte())
		f.stored = int(r.Uvarint(maxFrame))
		f.blobs = make([]blobRef, r.Count(maxFrame, chunk.Size+1))
		for j := range f.blobs {
			copy(f.blobs[j].id[:], r.Bytes(chunk.Size))
			f.blobs[j].length = int(r.Uvarint(chunk.MaxSize))
			if f.blobs[j].length == 0 || f.blobs[j].id.IsZero() {
				r.Fail(errors.New("empty blob"))
			}
		}
		total += f.stored
		switch n := f.length(); {
		case f.codec >= codecCount:
			r.Fail(fmt.Errorf("frame codec %d: %w", f.codec, store.ErrNewerFormat))
		case n == 0 || f.stored == 0 || n > maxFrame || f.codec == codecRaw && n != f.stored:
			r.Fail(errors.New("frame of impossible length"))
		case total > store.MaxObject:
			r.Fail(errors.New("frames are longer than a pack may be"))
		}
		if r.Err() != nil {
			break
		}
	}
	if err := r.Close(); err != nil {
		return nil, fmt.Errorf("pack directory: %w", err)
	}
	if d.epoch == 0 || len(d.frames) == 0 {
		return nil, errors.New("pack directory: no epoch or no frames")
	}
	return d, nil
}

// digest tells directories apart.
func (d *directory) digest() (sum [16]byte) {
	full := sha256.Sum256(d.append(nil))
	copy(sum[:], full[:])
	return sum
}
