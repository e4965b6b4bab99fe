package restore

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/hostfs"
	"permafrost/internal/snaptest"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/inspection"
	"permafrost/repo/ledger"
	"permafrost/snapshot"
	"permafrost/snapshot/restore/internal/choice"
	"permafrost/snapshot/restore/internal/fault"
	"permafrost/snapshot/restore/internal/tree"
	"permafrost/snapshot/stream"
	"permafrost/source"
	"permafrost/source/media"
)

// Chunks that are put together from parts of blobs are verified as a whole, and extents must lie in their blobs.
func TestStreamExtents(t *testing.T) {
	w := newWorld(t)
	wr, err := w.Open(w.Writer).NewWriter(t.Context(), "mastodon.example")
	if err != nil {
		t.Fatal(err)
	}
	defer wr.Abort()
	r := rand.New(rand.NewPCG(1, 1))
	put := func(c repo.Component, data []byte) (chunk.ID, error) {
		id := wr.Sum(c, data)
		_, err := wr.Add(t.Context(), c, id, data)
		return id, err
	}
	var pool [][]byte
	var ids []chunk.ID
	for i := range 50 {
		data := storetest.Random(uint64(i), 1000+r.IntN(200_000))
		id, err := put(repo.Postgres, data)
		if err != nil {
			t.Fatal(err)
		}
		pool, ids = append(pool, data), append(ids, id)
	}
	var chunks []stream.Chunk
	var want []byte
	for range 3000 {
		var c stream.Chunk
		start := len(want)
		for range 1 + r.IntN(5) {
			k := r.IntN(len(pool))
			off := r.IntN(len(pool[k]))
			n := 1 + r.IntN(min(20_000, len(pool[k])-off))
			c.Extents = append(c.Extents, stream.Extent{Blob: ids[k], Offset: off, Length: n})
			want = append(want, pool[k][off:off+n]...)
		}
		c.Length, c.ID = int64(len(want)-start), wr.Sum(repo.Postgres, want[start:])
		chunks = append(chunks, c)
	}
	build := func(cs []stream.Chunk) stream.Recipe {
		rec := stream.NewWriter(func(data []byte) (chunk.ID, error) { return put(repo.Meta, data) }, stream.InManifest)
		for i := range cs {
			if err := rec.Add(&cs[i]); err != nil {
				t.Fatal(err)
			}
		}
		out, err := rec.Finish()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	// A hole, a chunk that is a blob, and the same one again.
	chunks = append(chunks, stream.Chunk{Length: 70_000})
	want = append(want, make([]byte, 70_000)...)
	for range 2 {
		chunks = append(chunks, stream.Chunk{ID: ids[3], Length: int64(len(pool[3]))})
		want = append(want, pool[3]...)
	}
	good := build(chunks)
	bad := map[string]stream.Recipe{}
	spoil := func(name string, f func(c *stream.Chunk)) {
		c := chunks[7]
		c.Extents = append([]stream.Extent(nil), c.Extents...)
		f(&c)
		bad[name] = build([]stream.Chunk{chunks[0], c})
	}
	spoil("another chunk", func(c *stream.Chunk) { c.ID[0]++ })
	spoil("beyond the blob", func(c *stream.Chunk) { c.Extents[0].Offset = len(pool[0]) + 1<<18 })
	spoil("no such blob", func(c *stream.Chunk) { c.Extents[0].Blob[0]++ })
	spoil("a part for the whole", func(c *stream.Chunk) { *c = stream.Chunk{Length: c.Length, ID: c.Extents[0].Blob} })
	list := func(path string, r stream.Recipe) snapshot.Listing {
		return oneFile(t, func(data []byte) (chunk.ID, error) { return put(repo.Meta, data) },
			&snapshot.Entry{Entry: source.Entry{Path: path, Type: source.File, Mode: 0o644, Size: r.Size}, Content: r})
	}
	listings := map[string]snapshot.Listing{"": list("large", good)}
	for name, r := range bad {
		listings[name] = list("bad", r)
	}
	if _, err := wr.Commit(t.Context(), []byte("{}"), ledger.SnapshotInfo{Instance: "mastodon.example"}); err != nil {
		t.Fatal(err)
	}
	rd, err := snapshot.NewReader(t.Context(), w.Open(w.Owner), snaptest.Domain)
	if err != nil {
		t.Fatal(err)
	}
	own, err := w.Open(w.Owner).NewReader(t.Context(), snaptest.Domain)
	if err != nil {
		t.Fatal(err)
	}
	insp := snapshot.NewInspector(own)
	var b bytes.Buffer
	if err := stream.Write(t.Context(), rd, good.Chunks(t.Context(), rd), &b, func(int64) {}); err != nil || !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%d bytes of %d: %v", b.Len(), len(want), err)
	}
	file := filepath.Join(t.TempDir(), "media")
	dir, err := hostfs.MakeDir(file)
	if err != nil {
		t.Fatal(err)
	}
	target := media.NewTarget(dir, media.TargetOptions{Warn: func(path string, err error) { t.Error(path, err) }})
	defer target.Close()
	write := func(name string) (*counter, error) {
		news := new(counter)
		m := &snapshot.Manifest{Media: snapshot.Media{Listing: listings[name]}}
		return news, tree.New(tree.Options{Blobs: rd, Manifest: m, Choice: new(choice.Choice), Target: target, Fresh: true, News: news}).Write(t.Context())
	}
	news, err := write("")
	if err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(filepath.Join(file, "large")); err != nil || !bytes.Equal(got, want) || news.bytes.Load() != int64(len(want)-70_000) {
		t.Errorf("a file of parts has %d bytes, %d told: %v", len(got), news.bytes.Load(), err)
	}
	if err := inspect(t, insp, good, own); err != nil {
		t.Error(err)
	}
	for name, r := range bad {
		if err := stream.Write(t.Context(), rd, r.Chunks(t.Context(), rd), io.Discard, func(int64) {}); !fault.IsDamage(err) {
			t.Errorf("%s: %v", name, err)
		}
		if news, err := write(name); err != nil || news.lost.Load() != 1 {
			t.Errorf("%s: as a file: %v, %d lost", name, err, news.lost.Load())
		}
		if _, err := os.Stat(filepath.Join(file, "bad")); err == nil {
			t.Errorf("%s: a damaged file was left", name)
		}
		if err := inspect(t, insp, r, own); (err == nil) != (name == "another chunk") {
			t.Errorf("%s: verified: %v", name, err)
		}
	}
}

// A counter counts what it hears of media.
type counter struct{ bytes, lost atomic.Int64 }

func (c *counter) Wrote(_, n int64)      { c.bytes.Add(n) }
func (c *counter) Kept(_, _ int64)       {}
func (c *counter) Lost(string, error)    { c.lost.Add(1) }
func (c *counter) Refused(string, error) {}

// inspect returns what an Inspector finds wrong with a stream.
func inspect(t *testing.T, in inspection.Inspector, r stream.Recipe, rd *repo.Reader) error {
	t.Helper()
	m := madeUp()
	m.Instance, m.Secrets, m.Sidekiq, m.Redis, m.Media = snaptest.Domain, snapshot.Secrets{State: snapshot.Skipped}, nil, snapshot.Redis{State: snapshot.Skipped}, snapshot.Media{State: snapshot.Skipped}
	m.Postgres.Stream, m.Postgres.Dump.Tables = snapshot.Stream{Size: r.Size, Recipe: r}, nil
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	v := &snaptest.LookUp{Blobs: rd}
	_, err = in.Inspect(t.Context(), text, v)
	return errors.Join(append(v.Losses, err)...)
}
