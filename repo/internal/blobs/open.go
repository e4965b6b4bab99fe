package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"permafrost/repo/internal/index"
	"permafrost/repo/internal/pack"
	"permafrost/repo/store"

	"filippo.io/age"
)

// keptPacks is how many packs a Reader keeps open, each with up to 128 KiB of memory: a month of nights of an old stream.
const keptPacks = 80

// An opened is a pack whose age header and length have been decrypted and verified. It is for one goroutine at a time.
type opened struct {
	plain   io.ReaderAt
	fetched fetched // stored bytes that plain can read now, the edge among them
	edge    piece   // the last unit that was of use: where the next frame begins, as a rule
	used    uint64  // when it was kept last
}

// ReadAt reads the decrypted pack, where that was fetched.
func (o *opened) ReadAt(b []byte, off int64) (int, error) { return o.plain.ReadAt(b, off) }

// A packSource is the stored pack to age, as far as it is fetched.
type packSource struct{ *opened }

func (s packSource) ReadAt(b []byte, off int64) (int, error) { return s.fetched.ReadAt(b, off) }

// hold copies the unit out of what is fetched, and lets go of that.
func (o *opened) hold(unit span) {
	for _, p := range o.fetched {
		if unit.from >= p.from && unit.to <= p.to {
			o.edge = piece{unit, append(o.edge.data[:0], p.data[unit.from-p.from:unit.to-p.from]...)}
			break
		}
	}
	o.fetched = nil
}

// kept are those that a Reader keeps. Who takes one has it alone until it is kept again.
type kept struct {
	mu    sync.Mutex
	packs map[uint32]*opened // by their number in the index
	clock uint64
}

// take returns a pack that is open, or nil.
func (k *kept) take(n uint32) *opened {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	o := k.packs[n]
	delete(k.packs, n)
	return o
}

// keep keeps a pack instead of the one that was not used for longest.
func (k *kept) keep(n uint32, o *opened) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.packs) >= keptPacks && k.packs[n] == nil {
		oldest := n
		for i, p := range k.packs {
			if old := k.packs[oldest]; old == nil || p.used < old.used {
				oldest = i
			}
		}
		delete(k.packs, oldest)
	}
	k.clock++
	o.used = k.clock
	k.packs[n] = o
}

// Open fetches what it takes to read the given frames of a pack, ascending, into room, and returns the decrypted pack,
// in which only they can be read. It refuses a pack that was not written for the instance that it is listed for.
func (pr *Reader) Open(ctx context.Context, n uint32, frames []uint32, room *Room) (*opened, error) {
	p := &pr.Index.Packs[n]
	opener, err := OpenerOf(pr.Index.Keys, p.Component)
	if err != nil {
		return nil, err
	}
	o := pr.kept.take(n)
	spans, err := pr.spans(n, frames, o)
	if err != nil {
		return nil, err
	}
	now, err := pr.fetchSpans(ctx, p.Name, spans, room)
	if err != nil {
		return nil, err
	}
	if o != nil {
		o.fetched = append(now, o.edge)
		return o, nil
	}
	o = &opened{fetched: now}
	plain, size, err := age.DecryptReaderAt(packSource{o}, p.Size, opener)
	if err != nil {
		return nil, &store.DamageError{Object: store.Pack.Object(p.Name), Err: fmt.Errorf("decrypting: %w", err)}
	}
	if !opener.IsFor(p.Instance) {
		return nil, FalseListing(pr.Index, p, "")
	}
	if want := pack.PlainSize(p.Size, p.Header); size != want {
		return nil, &store.DamageError{Object: store.Pack.Object(p.Name), Err: fmt.Errorf("has %d bytes, the index says %d", size, want)}
	}
	o.plain = plain
	return o, nil
}

// Done keeps a pack that was read to the end of a frame, unless it is of media: these are read once, front to back.
func (pr *Reader) Done(n, frame uint32, o *opened) {
	p := &pr.Index.Packs[n]
	f, err := pr.Index.Frame(n, frame)
	if err != nil || pr.kept == nil || p.Component == pack.Media {
		return
	}
	o.hold(unit(p, f.Offset+int64(f.Stored)-1))
	pr.kept.keep(n, o)
}

// unit is the range of a pack's stored bytes that the byte at off of its plaintext lies in.
func unit(p *index.Pack, off int64) span {
	from := int64(p.Header) + off/pack.AgeChunk*(pack.AgeChunk+pack.AgeOverhead)
	return span{from, min(from+pack.AgeChunk+pack.AgeOverhead, p.Size)}
}

// FalseListing returns the error of a listing whose pack was written for another instance: whose, as far as that is known.
func FalseListing(x *index.Index, p *index.Pack, whose string) error {
	err := fmt.Errorf("it lists pack %s for %q, but the pack was %w", p.Name.Short(), p.Instance, ErrForeign)
	if whose != "" {
		err = fmt.Errorf("%w, %q", err, whose)
	}
	return &store.DamageError{Object: store.Index.Object(x.Objects[p.Object].Name), Err: err}
}

// ErrForeign says that a pack is listed for an instance that it was not written for. The listing is to blame for that, and
// not the pack: whoever lists it so wants another's content to be taken for that instance's own.
var ErrForeign = errors.New("written for another instance")
