package repo

import (
	"container/list"
	"context"
	"errors"
	"io/fs"
	"sync"

	"permafrost/chunk"
	"permafrost/repo/internal/blobs"
	"permafrost/repo/internal/core"
	"permafrost/repo/internal/index"
	"permafrost/repo/store"
)

const frameCache = 4 << 20 // bytes of decoded frames that Blob keeps

// A Reader reads blobs, each of which it verifies. It is safe for concurrent use.
type Reader struct {
	core     *core.Core
	instance string
	rooms    chan *blobs.Room

	mu       sync.Mutex
	packs    *blobs.Reader // nothing in it changes: whoever reads by it reads on when another takes its place
	reloaded bool
	frames   map[blobs.FrameKey]*list.Element
	recent   *list.List // of cachedFrame, most recently used first
	cached   int        // bytes
}

type cachedFrame struct {
	key   blobs.FrameKey
	plain []byte
}

// NewReader returns a Reader of an instance's snapshots, by what the log names now.
func (r *Repo) NewReader(ctx context.Context, instance string) (*Reader, error) {
	x, err := r.core.LoadIndex(ctx)
	if err != nil {
		return nil, err
	}
	rd := &Reader{core: r.core, instance: instance, rooms: blobs.NewRooms(r.core.Store)}
	rd.use(x.For(instance))
	return rd, nil
}

// Instance returns the instance whose snapshots are read.
func (rd *Reader) Instance() string { return rd.instance }

// use makes x the index that is read by.
func (rd *Reader) use(x *index.Index) {
	rd.packs = blobs.NewReader(rd.core.Store, x, rd.rooms, true)
	rd.frames, rd.recent, rd.cached = make(map[blobs.FrameKey]*list.Element), list.New(), 0
}

// ReaderOf returns a Reader that keeps to an index, whatever becomes of the log. Like [Repo.Core] it is for the packages below this one.
func ReaderOf(c *core.Core, x *index.Index) *Reader {
	rd := &Reader{core: c, instance: x.Instance, reloaded: true, rooms: blobs.NewRooms(c.Store)}
	rd.use(x)
	return rd
}

func (rd *Reader) now() *blobs.Reader {
	rd.mu.Lock()
	defer rd.mu.Unlock()
	return rd.packs
}

// reload reads log and index anew, once, where err says that a pack or its listing is missing: a prune may have moved its blobs since
// the index that was used was read; or that the local index is damaged. It reports whether there is a newer index to try.
func (rd *Reader) reload(ctx context.Context, used *blobs.Reader, err error) bool {
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, blobs.ErrUnlisted) && !index.IsTableDamage(err) {
		return false
	}
	rd.mu.Lock()
	defer rd.mu.Unlock()
	if rd.packs != used {
		return true
	}
	if rd.reloaded {
		return false
	}
	rd.reloaded = true
	h, err := rd.core.Log.ReadLog(ctx, used.Index.Keys, true)
	if err != nil {
		return false
	}
	x, err := rd.core.Indexes.Load(ctx, h, func(error) error { return nil })
	if err != nil {
		return false
	}
	rd.use(x.For(rd.instance))
	return true
}

// Length returns a blob's length in bytes, if the index knows it.
func (rd *Reader) Length(id chunk.ID) (int, bool) {
	for {
		packs := rd.now()
		n, ok, err := packs.Index.Length(id)
		if err == nil && !ok {
			err = blobs.ErrUnlisted
		}
		if err == nil || !rd.reload(context.Background(), packs, err) {
			return n, ok
		}
	}
}

// Blob returns a blob, which the caller must not change. It is for single blobs that lie near each other, such as a listing's; Fetch is
// for many. A blob of which no copy verifies is a store.DamageError, and one of content without the owner key a
// keys.MissingKeyError.
func (rd *Reader) Blob(ctx context.Context, id chunk.ID) ([]byte, error) {
	for {
		packs := rd.now()
		data, err := rd.blob(ctx, packs, id)
		if err == nil || !rd.reload(ctx, packs, err) {
			return data, err
		}
	}
}

func (rd *Reader) blob(ctx context.Context, packs *blobs.Reader, id chunk.ID) ([]byte, error) {
	var room [4]index.Place
	places, first := packs.Index.Find(id, room[:0])
	for _, pl := range places {
		plain, err := rd.frame(ctx, packs, blobs.FrameKey{Pack: pl.Pack, Frame: pl.Frame})
		if err == nil {
			var data []byte
			if data, err = packs.Cut(plain, pl, id); err == nil {
				return data, nil
			}
		}
		first = worse(first, err)
	}
	if first == nil {
		first = blobs.Missing(id)
	}
	return nil, first
}

// worse returns the first of two errors, unless the second tells that an object is missing: a newer index may help then;
// or that one can't be read just now, which is no damage.
func worse(first, err error) error {
	var damage *store.DamageError
	switch {
	case first == nil, errors.Is(err, fs.ErrNotExist) && !errors.Is(first, fs.ErrNotExist):
		return err
	case err != nil && errors.As(first, &damage) && !errors.Is(first, fs.ErrNotExist) && !errors.As(err, &damage):
		return err
	}
	return first
}

// frame returns a frame's plaintext, from the cache or the store.
func (rd *Reader) frame(ctx context.Context, packs *blobs.Reader, key blobs.FrameKey) ([]byte, error) {
	rd.mu.Lock()
	if e, ok := rd.frames[key]; ok && rd.packs == packs {
		rd.recent.MoveToFront(e)
		rd.mu.Unlock()
		return e.Value.(cachedFrame).plain, nil
	}
	rd.mu.Unlock()
	room := new(blobs.Room) // the cache keeps what is in it
	src, err := packs.Open(ctx, key.Pack, []uint32{key.Frame}, room)
	if err != nil {
		return nil, err
	}
	plain, err := packs.Decode(src, key, room)
	if err != nil {
		return nil, err
	}
	packs.Done(key.Pack, key.Frame, src)
	rd.mu.Lock()
	defer rd.mu.Unlock()
	if _, ok := rd.frames[key]; !ok && rd.packs == packs {
		rd.frames[key] = rd.recent.PushFront(cachedFrame{key, plain})
		for rd.cached += len(plain); rd.cached > frameCache && rd.recent.Len() > 1; {
			old := rd.recent.Remove(rd.recent.Back()).(cachedFrame)
			delete(rd.frames, old.key)
			rd.cached -= len(old.plain)
		}
	}
	return plain, nil
}

// Fetch reads blobs, each distinct one once, and calls f with each. It goes pack by pack, several packs at once, so that f is called
// from several goroutines. data is valid until f returns. An error of f ends Fetch. Its other errors are those of Blob.
func (rd *Reader) Fetch(ctx context.Context, ids []chunk.ID, f func(id chunk.ID, data []byte) error) error {
	want := make(map[chunk.ID]int, len(ids)) // how many places of it have failed
	for _, id := range ids {
		want[id] = 0
	}
	var first error
	packs := rd.now()
	for len(want) > 0 {
		plan, err := packs.Plan(want)
		if err != nil {
			first = worse(first, err)
			if !rd.reload(ctx, packs, first) {
				return first
			}
			packs = rd.now()
			for id := range want {
				want[id] = 0
			}
			continue
		}
		failed, err := packs.Fetch(ctx, plan, f)
		if err != nil {
			return err
		}
		next := make(map[chunk.ID]int)
		for id, err := range failed {
			next[id] = want[id] + 1
			first = worse(first, err)
		}
		want = next
	}
	return nil
}
