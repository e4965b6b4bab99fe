package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"permafrost/chunk"
	"permafrost/internal/wire"
	"permafrost/repo/internal/pack"
	"permafrost/repo/store"
)

const (
	// MaxInstance is how many bytes an instance's name may have.
	MaxInstance = 255

	// ObjectSize is the size in bytes at which an index object is closed and the next begun.
	ObjectSize = 4 << 20

	maxPacks = 1 << 20
)

// EncodeObject returns the body of an index object.
func EncodeObject(instance string, packs []*pack.Pack) []byte {
	b := binary.AppendUvarint(nil, uint64(len(instance)))
	b = append(b, instance...)
	b = binary.AppendUvarint(b, uint64(len(packs)))
	for _, p := range packs {
		b = p.Append(b)
	}
	return b
}

// parseObject reads what EncodeObject returned, and calls f with pack after pack until it fails.
func parseObject(body []byte, f func(*pack.Pack) error) (instance string, err error) {
	r := wire.NewReader(body)
	instance = string(r.Bytes(r.Count(MaxInstance, 1)))
	n := r.Count(maxPacks, len(store.Name{}))
	for range n {
		p := pack.Parse(r)
		if p == nil {
			break
		}
		if err := f(p); err != nil {
			return "", err
		}
	}
	if err := r.Close(); err != nil {
		return "", fmt.Errorf("index: %w", err)
	}
	if n == 0 {
		return "", errors.New("index: no packs")
	}
	return instance, nil
}

// Split groups packs so that each group makes an index object of about ObjectSize. An error of packs ends it.
func Split(packs iter.Seq2[*pack.Pack, error]) iter.Seq2[[]*pack.Pack, error] {
	return func(yield func([]*pack.Pack, error) bool) {
		var group []*pack.Pack
		size := 0
		for p, err := range packs {
			if err != nil {
				yield(nil, err)
				return
			}
			group = append(group, p)
			for _, f := range p.Frames {
				size += len(f.Blobs) * (chunk.Size + 3)
			}
			if size >= ObjectSize {
				if !yield(group, nil) {
					return
				}
				group, size = nil, 0
			}
		}
		if len(group) > 0 {
			yield(group, nil)
		}
	}
}
