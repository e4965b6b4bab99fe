package repo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"permafrost/chunk"
	"permafrost/internal/wire"
)

const (
	maxInstance   = 255
	maxIndexPacks = 1 << 20

	// indexTarget is the size in bytes at which an index object is closed and the next begun.
	indexTarget = 8 << 20
)

// encodeIndex returns the body of an index object.
func encodeIndex(instance string, packs []*pack) []byte {
	b := binary.AppendUvarint(nil, uint64(len(instance)))
	b = append(b, instance...)
	b = binary.AppendUvarint(b, uint64(len(packs)))
	for _, p := range packs {
		b = p.append(b)
	}
	return b
}

// parseIndex reads what encodeIndex wrote.
func parseIndex(body []byte) (instance string, packs []*pack, err error) {
	r := wire.NewReader(body)
	instance = string(r.Bytes(r.Count(maxInstance, 1)))
	n := r.Count(maxIndexPacks, len(Name{}))
	for range n {
		p := parsePack(r)
		if p == nil {
			break
		}
		packs = append(packs, p)
	}
	if err := r.Close(); err != nil {
		return "", nil, fmt.Errorf("index: %w", err)
	}
	if n == 0 {
		return "", nil, errors.New("index: no packs")
	}
	return instance, packs, nil
}

// splitIndex groups packs so that each group makes an index object of about indexTarget.
func splitIndex(packs []*pack) iter.Seq[[]*pack] {
	return func(yield func([]*pack) bool) {
		start, size := 0, 0
		for i, p := range packs {
			for _, f := range p.frames {
				size += len(f.blobs) * (chunk.Size + 3)
			}
			if size >= indexTarget || i == len(packs)-1 {
				if !yield(packs[start : i+1]) {
					return
				}
				start, size = i+1, 0
			}
		}
	}
}

// A place is where a copy of a blob lies.
type place struct {
	pack   uint32 // in index.packs
	frame  uint32
	offset uint32 // in the frame's plaintext
	length uint32
	next   uint32 // another place of the same blob, plus one; 0 ends the list
}

// An indexedPack is a pack with what the index knows beside its directory.
type indexedPack struct {
	*pack
	object   Name   // the index object that lists it; zero for one of this run
	instance string // whose snapshots it serves; empty where none vouches for the listing
	trusted  bool   // it may be deduplicated against: who signed the index object is on the roster still
	offsets  []int  // of each frame, in the pack's plaintext
	gone     bool   // a prune entry names it
}

// An index finds blobs. Adding to it is for one goroutine, while no other uses it.
type index struct {
	packs  []indexedPack
	byName map[Name][]uint32   // listings of a pack: more than one where they differ
	blobs  map[chunk.ID]uint32 // first place, plus one
	places []place
	only   string // places that serve this instance alone are found; empty: all
}

func newIndex() *index {
	return &index{byName: make(map[Name][]uint32), blobs: make(map[chunk.ID]uint32)}
}

// of returns the index as the snapshots of an instance are read by: nobody else's listing can stand in the way.
func (x *index) of(instance string) *index {
	y := *x
	y.only = instance
	return &y
}

// add enters a listing of a pack and its blobs. One that says what another for the same instance says changes nothing.
func (x *index) add(ip indexedPack) {
	for _, n := range x.byName[ip.name] {
		have := &x.packs[n]
		if have.instance == ip.instance && bytes.Equal(have.directory.append(nil), ip.directory.append(nil)) {
			return
		}
	}
	n := uint32(len(x.packs))
	x.byName[ip.name] = append(x.byName[ip.name], n)
	ip.offsets = make([]int, len(ip.frames))
	at := len(packMagic)
	for i, f := range ip.frames {
		ip.offsets[i] = at
		at += f.stored
		off := uint32(0)
		for _, b := range f.blobs {
			x.places = append(x.places, place{pack: n, frame: uint32(i), offset: off, length: uint32(b.length), next: x.blobs[b.id]})
			x.blobs[b.id] = uint32(len(x.places))
			off += uint32(b.length)
		}
	}
	x.packs = append(x.packs, ip)
}

// prune marks the listings of packs that a prune entry names, where its signer spoke for their instance.
func (x *index) prune(h *history) {
	for i := range x.packs {
		if p := &x.packs[i]; h.gone(packObject(p.name), p.instance) {
			p.gone = true
		}
	}
}

// find yields every place of a blob in a pack that is not gone, with its number.
func (x *index) find(id chunk.ID) iter.Seq2[int, place] {
	return func(yield func(int, place) bool) {
		for at := x.blobs[id]; at != 0; {
			pl := x.places[at-1]
			p := &x.packs[pl.pack]
			if !p.gone && (x.only == "" || p.instance == x.only) && !yield(int(at-1), pl) {
				return
			}
			at = pl.next
		}
	}
}

// length returns a blob's length in bytes.
func (x *index) length(id chunk.ID) (int, bool) {
	for _, pl := range x.find(id) {
		return int(pl.length), true
	}
	return 0, false
}
