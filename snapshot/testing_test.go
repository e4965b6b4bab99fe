package snapshot

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/hostfs"
	"permafrost/source"
	"permafrost/source/media"
)

// blobs keeps meta blobs in memory, for tests of the formats alone.
type blobs map[chunk.ID][]byte

func (m blobs) put(data []byte) (chunk.ID, error) {
	id := chunk.ID(sha256.Sum256(data))
	m[id] = append([]byte(nil), data...)
	return id, nil
}

func (m blobs) Blob(_ context.Context, id chunk.ID) ([]byte, error) {
	data, ok := m[id]
	if !ok {
		return nil, fmt.Errorf("blob %v: %w", id, fs.ErrNotExist)
	}
	return data, nil
}

// missing counts the blobs of m that other has not.
func (m blobs) missing(other blobs) int {
	n := 0
	for id := range m {
		if _, ok := other[id]; !ok {
			n++
		}
	}
	return n
}

func (m blobs) sorted() []chunk.ID {
	return slices.SortedFunc(maps.Keys(m), func(a, b chunk.ID) int { return slices.Compare(a[:], b[:]) })
}

func randomID(r *rand.Rand) (id chunk.ID) {
	for i := range id {
		id[i] = byte(r.Uint32())
	}
	return id
}

// mastodonTree returns the entries of a media tree with the given number of attachments of two files each, as
// Mastodon lays them out: four directories and more an attachment, names of snowflakes, times that follow.
func mastodonTree(seed uint64, attachments int) []*Entry {
	r := rand.New(rand.NewPCG(seed, 1))
	inode := uint64(1000)
	seen := make(map[string]*Entry)
	var all []*Entry
	now := int64(1_680_000_000_000_000_000)
	add := func(path string, t source.Type) *Entry {
		inode += 1 + r.Uint64N(3)
		e := &Entry{Entry: source.Entry{Path: path, Type: t, Mode: 0o755, UID: 991, GID: 991, MTime: now, CTime: now, Inode: inode}}
		now += 20_000 + r.Int64N(300_000)
		seen[path] = e
		all = append(all, e)
		return e
	}
	add(".", source.Dir)
	id := uint64(109_384_712_000_000_000)
	for range attachments {
		now += r.Int64N(100_000_000_000)
		id += r.Uint64N(6_000_000_000)
		digits := fmt.Sprintf("%018d", id)
		path := "cache"
		for _, part := range []string{"media_attachments", "files", digits[:3], digits[3:6], digits[6:9], digits[9:12], digits[12:15], digits[15:]} {
			if seen[path] == nil {
				add(path, source.Dir)
			}
			path += "/" + part
		}
		add(path, source.Dir)
		name := fmt.Sprintf("%016x.jpg", r.Uint64())
		for _, style := range []string{"original", "small"} {
			add(path+"/"+style, source.Dir)
			f := add(path+"/"+style+"/"+name, source.File)
			f.Mode, f.Dev = 0o644, 2049
			f.CTime = f.MTime + 30_000 + r.Int64N(2_000_000)
			f.Size = 4000 + r.Int64N(300_000)
			f.Content = wholeBlob(randomID(r), f.Size)
			seen[path+"/"+style].MTime = f.MTime - r.Int64N(50_000)
		}
	}
	for _, e := range all {
		if e.Type != source.File {
			e.CTime, e.Inode = 0, 0 // not kept
		}
	}
	slices.SortFunc(all, func(a, b *Entry) int { return source.ComparePaths(a.Path, b.Path) })
	return all
}

func writeListing(t testing.TB, m blobs, entries []*Entry) Listing {
	t.Helper()
	w := newListingWriter(m.put, sha256.Sum256([]byte("key")))
	for _, e := range entries {
		if err := w.add(e); err != nil {
			t.Fatal(err)
		}
	}
	l, err := w.finish()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// newTarget restores media into a directory, which it makes. What can't be restored is an error of the test.
func newTarget(t testing.TB, dir string) *media.Target {
	t.Helper()
	at, err := hostfs.MakeDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	target := media.NewTarget(at, media.TargetOptions{Warn: func(path string, err error) { t.Error(path, err) }})
	t.Cleanup(func() { target.Close() })
	return target
}
