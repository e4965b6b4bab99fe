package index

import "sync"

const (
	cacheShards = 32
	cacheSlots  = 32 // pages a shard: 4 MiB in all
)

// A pageCache keeps pages of tables, each in the one slot that its number gives. It is safe for concurrent use.
type pageCache struct {
	shards [cacheShards]struct {
		mu    sync.Mutex
		slots [cacheSlots]*cachedPage
	}
}

type cachedPage struct {
	table *table
	n     uint32
	page  page
}

// use calls f with the payload of page n of a table. A page's proof is looked at when it is first read: what it guards
// against is a disk that does not keep what it was given, not one that changes it from one minute to the next.
func (c *pageCache) use(t *table, n uint32, f func(payload []byte)) error {
	h := (uint64(n) ^ t.file) * 0x9e3779b97f4a7c15 >> 32
	s := &c.shards[h%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := &s.slots[h/cacheShards%cacheSlots]
	if *slot == nil {
		*slot = new(cachedPage)
	}
	p := *slot
	if p.table != t || p.n != n {
		p.table = nil // until it holds what it says
		if _, err := t.f.ReadAt(p.page.body(), int64(n)*pageSize); err != nil {
			return err
		}
		if !t.proven(n) {
			if !p.page.verify(t.key, t.file, n) {
				return errPage
			}
			t.prove(n)
		}
		p.table, p.n = t, n
	}
	f(p.page.body()[:pagePayload])
	return nil
}
