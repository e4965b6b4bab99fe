package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"permafrost/chunk"
	"permafrost/repo/internal/index"
	"permafrost/repo/internal/pack"
	"permafrost/repo/keys"
	"permafrost/repo/store"
)

const (
	packReads    = 4                     // packs that a Reader reads at once, a portion of each, from a store nearby
	portionBytes = 5 << 20               // stored bytes
	portionRTT   = 16 * time.Millisecond // over a distance one more for so much of a round trip
	AgeNonce     = 16                    // bytes between header and payload
)

// A Reader reads blobs from where one state of the index says they are.
type Reader struct {
	store store.Store
	Index *index.Index
	Rooms chan *Room // of packs that are read at once
	kept  *kept      // nil keeps none
}

// NewReader returns a reader by one index, which reads several packs at once in rooms, where there are any. With keep it holds what it
// takes to open the packs of streams again.
func NewReader(st store.Store, x *index.Index, rooms chan *Room, keep bool) *Reader {
	pr := &Reader{store: st, Index: x, Rooms: rooms}
	if keep {
		pr.kept = &kept{packs: make(map[uint32]*opened)}
	}
	return pr
}

// A Room is the memory that a pack is read in, used again for the next.
type Room struct {
	spans  []byte // as they came
	stored []byte // a frame as it is stored
	plain  []byte // and decompressed
}

// A room keeps no more than this between two packs: what one long blob takes would else stay in each of them.
const (
	keptSpans = portionBytes + 1<<20
	keptFrame = 2 << 20
)

// trim lets go of memory that few packs need.
func (r *Room) trim() {
	if cap(r.spans) > keptSpans {
		r.spans = nil
	}
	if cap(r.stored) > keptFrame {
		r.stored = nil
	}
	if cap(r.plain) > keptFrame {
		r.plain = nil
	}
}

// sized returns n bytes of memory: b's where that has so much, else new ones, in whole MiB where it is much.
func sized(b []byte, n int) []byte {
	const mib = 1 << 20
	if cap(b) >= n {
		return b[:n]
	}
	if n > mib/2 {
		return make([]byte, n, (n+mib-1)/mib*mib)
	}
	return make([]byte, n)
}

func NewRooms(st store.Store) chan *Room {
	rooms := make(chan *Room, packReads+int(st.RoundTrip()/portionRTT))
	for range cap(rooms) {
		rooms <- new(Room)
	}
	return rooms
}

type FrameKey struct {
	Pack  uint32 // in index.Packs
	Frame uint32
}

// ErrUnlisted may also come of an index object that a prune has replaced since the log was read.
var ErrUnlisted = errors.New("no index lists it")

func Missing(id chunk.ID) error {
	return &store.DamageError{Object: "blob " + id.String()[:8], Err: ErrUnlisted}
}

// Cut returns the blob at pl of its frame's plaintext, verified.
func (pr *Reader) Cut(plain []byte, pl index.Place, id chunk.ID) ([]byte, error) {
	p := &pr.Index.Packs[pl.Pack]
	data := plain[pl.Offset : pl.Offset+pl.Length : pl.Offset+pl.Length]
	if sum, ok := pack.BlobID(pr.Index.Keys, p.Epoch, p.Component, data); !ok || sum != id {
		return nil, &store.DamageError{Object: store.Pack.Object(p.Name), Err: fmt.Errorf("its blob %s… does not match its ID", id.String()[:8])}
	}
	return data, nil
}

// Decode reads a frame from its decrypted pack, into room.
func (pr *Reader) Decode(src io.ReaderAt, key FrameKey, room *Room) ([]byte, error) {
	p := &pr.Index.Packs[key.Pack]
	f, err := pr.Index.Frame(key.Pack, key.Frame)
	if err != nil {
		return nil, err
	}
	room.stored = sized(room.stored, f.Stored)
	if _, err := src.ReadAt(room.stored, f.Offset); err != nil && err != io.EOF {
		return nil, &store.DamageError{Object: store.Pack.Object(p.Name), Err: err}
	}
	plain, err := pack.DecodeFrame(room.plain, room.stored, f.Codec, f.Length)
	if err != nil {
		return nil, &store.DamageError{Object: store.Pack.Object(p.Name), Err: err}
	}
	if f.Codec != pack.Raw {
		room.plain = plain
	}
	return plain, nil
}

// OpenerOf returns what opens a pack of a component.
func OpenerOf(k *keys.Keyring, c pack.Component) (*pack.Opener, error) {
	if c == pack.Meta {
		return &pack.Opener{Identities: k.MetaIdentities()}, nil
	}
	if ids := k.DataIdentities(); len(ids) > 0 {
		return &pack.Opener{Identities: ids}, nil
	}
	return nil, &keys.MissingKeyError{Need: "the owner key (-i RECOVERY-FILE); the writer key can't open what it stored", For: "reading content back"}
}

// A span is a range of a pack's stored bytes.
type span struct{ from, to int64 }

// spans returns the ranges to fetch for some frames of a pack, ascending and apart: the units that they lie in, and
// unless the pack is open, the age header and the last unit of the payload (age verifies the length by it). Ranges near
// each other are one: a gap costs less than a round trip.
func (pr *Reader) spans(n uint32, frames []uint32, opened *opened) ([]span, error) {
	p := &pr.Index.Packs[n]
	const gap = 256 << 10
	var all []span
	add := func(s span) {
		if len(all) > 0 && s.from-all[len(all)-1].to <= gap {
			l := &all[len(all)-1]
			l.to = max(l.to, s.to)
		} else if s.from < s.to {
			all = append(all, s)
		}
	}
	if opened == nil {
		add(span{0, int64(p.Header)})
	}
	for _, f := range frames {
		info, err := pr.Index.Frame(n, f)
		if err != nil {
			return nil, err
		}
		s := span{unit(p, info.Offset).from, unit(p, info.Offset+int64(info.Stored)-1).to}
		if opened != nil && s.from == opened.edge.from {
			s.from = opened.edge.to
		}
		add(s)
	}
	if opened == nil {
		add(unit(p, pack.PlainSize(p.Size, p.Header)-1))
	}
	return all, nil
}

// A piece is a range of an object with its bytes.
type piece struct {
	span
	data []byte
}

// fetched are ranges of an object.
type fetched []piece

// ReadAt reads within one of the ranges.
func (f fetched) ReadAt(b []byte, off int64) (int, error) {
	for _, s := range f {
		if off >= s.from && off < s.to {
			n := copy(b, s.data[off-s.from:])
			if n < len(b) {
				return n, io.EOF
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("offset %d was not fetched", off)
}

// fetchSpans reads ranges of a pack side by side.
func (pr *Reader) fetchSpans(ctx context.Context, pack store.Name, spans []span, room *Room) (fetched, error) {
	out := make(fetched, len(spans))
	size := int64(0)
	for _, s := range spans {
		size += s.to - s.from
	}
	room.spans = sized(room.spans, int(size))
	rest := room.spans
	g, ctx := errgroup.WithContext(ctx)
	for i, s := range spans {
		out[i].span = s
		out[i].data, rest = rest[:s.to-s.from], rest[s.to-s.from:]
		g.Go(func() error {
			n, err := pr.store.ReadAt(ctx, store.Pack.Object(pack), out[i].data, s.from)
			if err == io.EOF || errors.Is(err, fs.ErrNotExist) {
				return &store.DamageError{Object: store.Pack.Object(pack), Err: fmt.Errorf("%d bytes from %d on: got %d: %w", len(out[i].data), s.from, n, err)}
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return out, nil
}

// A Wanted is a blob to read at a place.
type Wanted struct {
	ID chunk.ID
	index.Place
}

// Plan chooses a place for each blob, the first that has not failed, and sorts them by pack and frame.
func (pr *Reader) Plan(want map[chunk.ID]int) ([][]Wanted, error) {
	all := make([]Wanted, 0, len(want))
	var room [4]index.Place
	for id, failed := range want {
		places, err := pr.Index.Find(id, room[:0])
		if err != nil {
			return nil, err
		}
		if failed >= len(places) {
			return nil, Missing(id)
		}
		all = append(all, Wanted{id, places[failed]})
	}
	return ByPack(all), nil
}

// ByPack sorts blobs by place and groups them by pack.
func ByPack(all []Wanted) [][]Wanted {
	slices.SortFunc(all, func(a, b Wanted) int {
		switch {
		case a.Pack != b.Pack:
			return int(a.Pack) - int(b.Pack)
		case a.Frame != b.Frame:
			return int(a.Frame) - int(b.Frame)
		}
		return int(a.Offset) - int(b.Offset)
	})
	var packs [][]Wanted
	for i, w := range all {
		if i == 0 || all[i-1].Pack != w.Pack {
			packs = append(packs, nil)
		}
		packs[len(packs)-1] = append(packs[len(packs)-1], w)
	}
	return packs
}

// Fetch reads what plan says. Blobs that could not be read or did not verify are returned with the reason; err is
// f's or a lost storage's.
func (pr *Reader) Fetch(ctx context.Context, plan [][]Wanted, f func(chunk.ID, []byte) error) (failed map[chunk.ID]error, err error) {
	failed = make(map[chunk.ID]error)
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cap(pr.Rooms))
	for _, blobs := range plan {
		g.Go(func() error {
			room := <-pr.Rooms
			defer func() {
				room.trim()
				pr.Rooms <- room
			}()
			return pr.fetchPack(ctx, blobs, room, f, func(id chunk.ID, err error) {
				mu.Lock()
				failed[id] = err
				mu.Unlock()
			})
		})
	}
	return failed, g.Wait()
}

// fetchPack reads blobs of one pack, sorted by place, a portion after the other in room.
func (pr *Reader) fetchPack(ctx context.Context, blobs []Wanted, room *Room, f func(chunk.ID, []byte) error, failed func(chunk.ID, error)) error {
	for len(blobs) > 0 {
		n := pr.portion(blobs)
		if err := pr.fetchPortion(ctx, blobs[:n], room, f, failed); err != nil {
			return err
		}
		blobs = blobs[n:]
	}
	return nil
}

// portion returns how many of the blobs to read at once: those of frames that take portionBytes, or of one that takes more.
func (pr *Reader) portion(blobs []Wanted) int {
	stored := 0
	for i, b := range blobs {
		if i > 0 && blobs[i-1].Frame == b.Frame {
			continue
		}
		if f, err := pr.Index.Frame(b.Pack, b.Frame); err == nil {
			if stored += f.Stored; stored > portionBytes && i > 0 {
				return i
			}
		}
	}
	return len(blobs)
}

// fetchPortion reads blobs of one pack at once.
func (pr *Reader) fetchPortion(ctx context.Context, blobs []Wanted, room *Room, f func(chunk.ID, []byte) error, failed func(chunk.ID, error)) error {
	var frames []uint32
	for _, b := range blobs {
		if len(frames) == 0 || frames[len(frames)-1] != b.Frame {
			frames = append(frames, b.Frame)
		}
	}
	n, whole := blobs[0].Pack, true
	src, err := pr.Open(ctx, n, frames, room)
	var damage *store.DamageError
	if errors.As(err, &damage) || index.IsTableDamage(err) {
		for _, b := range blobs {
			failed(b.ID, err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	for len(blobs) > 0 {
		key := FrameKey{n, blobs[0].Frame}
		plain, err := pr.Decode(src, key, room)
		whole = whole && err == nil
		for len(blobs) > 0 && blobs[0].Frame == key.Frame {
			b := blobs[0]
			blobs = blobs[1:]
			var data []byte
			berr := err
			if berr == nil {
				data, berr = pr.Cut(plain, b.Place, b.ID)
			}
			if berr != nil {
				failed(b.ID, berr)
				continue
			}
			if err := f(b.ID, data); err != nil {
				return err
			}
		}
	}
	if whole {
		pr.Done(n, frames[len(frames)-1], src)
	}
	return nil
}
