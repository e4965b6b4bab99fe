package pack

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
	Components
)

var componentNames = [Components]string{"meta", "secrets", "postgres", "redis", "media"}

func (c Component) String() string {
	if c < Components {
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

// A Codec says how a frame's bytes are stored.
type Codec byte

const (
	Raw Codec = iota
	Zstd
	codecCount
)

// A Blob is a blob's place in a frame's list.
type Blob struct {
	ID     chunk.ID
	Length int
}

// A Frame is what the directory says of one.
type Frame struct {
	Codec  Codec
	Stored int // bytes in the pack
	Blobs  []Blob
}

// Length returns the length of the frame's plaintext, in bytes.
func (f *Frame) Length() int {
	n := 0
	for _, b := range f.Blobs {
		n += b.Length
	}
	return n
}

// A Directory is a pack's table of contents.
type Directory struct {
	Epoch     uint32
	Component Component
	Frames    []Frame
}

// Append encodes the directory behind b.
func (d *Directory) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(d.Epoch))
	b = binary.AppendUvarint(b, uint64(d.Component))
	b = binary.AppendUvarint(b, uint64(len(d.Frames)))
	for _, f := range d.Frames {
		b = append(b, byte(f.Codec))
		b = binary.AppendUvarint(b, uint64(f.Stored))
		b = binary.AppendUvarint(b, uint64(len(f.Blobs)))
		for _, bl := range f.Blobs {
			b = append(b, bl.ID[:]...)
			b = binary.AppendUvarint(b, uint64(bl.Length))
		}
	}
	return b
}

// parseDirectory reads what append wrote, all of b.
func parseDirectory(b []byte) (*Directory, error) {
	r := wire.NewReader(b)
	d := &Directory{
		Epoch:     uint32(r.Uvarint(maxEpoch)),
		Component: Component(r.Uvarint(uint64(Components - 1))),
	}
	d.Frames = make([]Frame, r.Count(maxFrames, 3+chunk.Size+1))
	total := 0
	for i := range d.Frames {
		f := &d.Frames[i]
		f.Codec = Codec(r.Byte())
		f.Stored = int(r.Uvarint(maxFrame))
		f.Blobs = make([]Blob, r.Count(maxFrame, chunk.Size+1))
		for j := range f.Blobs {
			copy(f.Blobs[j].ID[:], r.Bytes(chunk.Size))
			f.Blobs[j].Length = int(r.Uvarint(chunk.MaxSize))
			if f.Blobs[j].Length == 0 || f.Blobs[j].ID.IsZero() {
				r.Fail(errors.New("empty blob"))
			}
		}
		total += f.Stored
		switch n := f.Length(); {
		case f.Codec >= codecCount:
			r.Fail(fmt.Errorf("frame codec %d: %w", f.Codec, store.ErrNewerFormat))
		case n == 0 || f.Stored == 0 || n > maxFrame || f.Codec == Raw && n != f.Stored:
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
	if d.Epoch == 0 || len(d.Frames) == 0 {
		return nil, errors.New("pack directory: no epoch or no frames")
	}
	return d, nil
}

// Digest tells directories apart.
func (d *Directory) Digest() (sum [16]byte) {
	full := sha256.Sum256(d.Append(nil))
	copy(sum[:], full[:])
	return sum
}
