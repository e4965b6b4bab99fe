package snapshot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"permafrost/internal/snaptest"
	"permafrost/snapshot/internal/blobtree"
	"permafrost/snapshot/stream"

	"github.com/klauspost/compress/zstd"

	"permafrost/chunk"
	"permafrost/source"
)

// oddEntries has every type and form once and more.
func oddEntries() []*Entry {
	r := rand.New(rand.NewPCG(7, 7))
	e := func(path string, t source.Type, f func(e *Entry)) *Entry {
		x := &Entry{Entry: source.Entry{Path: path, Type: t, Mode: 0o600, UID: 1, GID: 2, MTime: r.Int64() - 1<<62}}
		if f != nil {
			f(x)
		}
		return x
	}
	id := snaptest.RandomID(r)
	all := []*Entry{
		e(".", source.Dir, func(e *Entry) { e.Mode = 0o1777 }),
		e("a", source.Dir, func(e *Entry) {
			e.Xattrs = []source.Xattr{{Name: "user.x", Value: []byte("y")}, {Name: "user.z", Value: []byte{}}}
		}),
		e("a/\xff\xfe\n\"", source.File, nil),
		e("a.b", source.Symlink, func(e *Entry) { e.Target = "../\xff" }),
		e("block", source.Block, func(e *Entry) { e.Rdev = 1 << 40 }),
		e("char", source.Char, func(e *Entry) { e.Rdev = 259 }),
		e("fifo", source.FIFO, nil),
		e("file", source.File, func(e *Entry) {
			e.Size, e.CTime, e.Dev, e.Inode = 5, 77, 1<<63, 1<<64-1
			e.Content = stream.Whole(id, 5)
		}),
		e("file2", source.File, func(e *Entry) {
			e.Size, e.CTime = 5, e.MTime
			e.Link = "file"
		}),
		e("socket", source.Socket, nil),
		e("sparse", source.File, func(e *Entry) {
			e.Size, e.Inode = 1<<40+9, 3
			e.Content = stream.Recipe{Size: e.Size, Root: snaptest.Chunk(snaptest.Chunk(nil, 1<<40, chunk.ID{}), 9, id)}
		}),
	}
	return all
}

func TestListingRoundTrip(t *testing.T) {
	for name, entries := range map[string][]*Entry{
		"empty": nil, "odd": oddEntries(), "tree": mastodonTree(1, 3000), "root": {{Entry: source.Entry{Path: ".", Type: source.Dir}}},
	} {
		t.Run(name, func(t *testing.T) {
			m := snaptest.Blobs{}
			l := writeListing(t, m, entries)
			if err := l.check(); err != nil {
				t.Fatal(err)
			}
			var got []*Entry
			for e, err := range l.entries(t.Context(), m, nil) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, e)
			}
			if len(got) != len(entries) || l.Entries != int64(len(entries)) {
				t.Fatalf("%d entries of %d", len(got), len(entries))
			}
			for i := range got {
				if !reflect.DeepEqual(got[i], entries[i]) {
					t.Fatalf("entry %d:\n got %+v\nwant %+v", i, got[i], entries[i])
				}
			}
		})
	}
}

// A night's change must not cost the listing anew: what is in no leaf near the change is the same blob.
func TestListingUnchangedRegions(t *testing.T) {
	entries := mastodonTree(2, 5000)
	before := snaptest.Blobs{}
	writeListing(t, before, entries)
	if len(before) < 20 {
		t.Fatalf("only %d blobs", len(before))
	}
	for _, at := range []int{1, 777, len(entries) / 2, len(entries) - 2} {
		after := snaptest.Blobs{}
		writeListing(t, after, slices.Delete(slices.Clone(entries), at, at+1))
		if n := after.Missing(before); n > 3 {
			t.Errorf("removing entry %d makes %d new blobs of %d", at, n, len(after))
		}
		for at < len(entries)-1 && entries[at].Type != source.File {
			at++ // behind a directory come its files
		}
		changed := *entries[at]
		changed.Path, changed.MTime = changed.Path+".new", 1
		after = snaptest.Blobs{}
		writeListing(t, after, slices.Insert(slices.Clone(entries), at+1, &changed))
		if n := after.Missing(before); n > 4 {
			t.Errorf("inserting behind entry %d makes %d new blobs of %d", at, n, len(after))
		}
	}
}

// A small file costs the listing at most 100 bytes with all its directories, of which 32 are the blob's ID.
func TestListingSize(t *testing.T) {
	m := snaptest.Blobs{}
	entries := mastodonTree(3, 10000)
	writeListing(t, m, entries)
	files := 0
	for _, e := range entries {
		if e.Type == source.File {
			files++
		}
	}
	var frame, packed []byte
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, stored := 0, 0
	for _, data := range m {
		if frame = append(frame, data...); len(frame) > 128<<10 {
			packed = enc.EncodeAll(frame, packed[:0])
			stored += len(packed)
			frame = frame[:0]
		}
		raw += len(data)
	}
	stored += len(enc.EncodeAll(frame, nil))
	t.Logf("%d entries, %d files, %d blobs: %.1f bytes an entry, %.1f stored; %.1f bytes a file stored", len(entries), files, len(m),
		float64(raw)/float64(len(entries)), float64(stored)/float64(len(entries)), float64(stored)/float64(files))
	if stored > 100*files {
		t.Errorf("%d bytes for %d files", stored, files)
	}
}

// Mangled leaves are errors, or other entries in order that encode to what was read: never a panic.
func TestListingMangled(t *testing.T) {
	m := snaptest.Blobs{}
	l := writeListing(t, m, oddEntries())
	refs, err := blobtree.ReadRefs(l.Root, blobtree.Listing)
	if err != nil || len(refs) != 1 {
		t.Fatal(refs, err)
	}
	good := m[refs[0].ID][headerBytes:]
	for i := range good {
		if eachEntry(refs[0], good[:i], func(*Entry) bool { return true }) == nil {
			t.Errorf("cut to %d bytes: no error", i)
		}
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			checkLeaf(t, refs[0], bad)
		}
	}
	for i := range l.Root {
		if _, err := blobtree.ReadRefs(l.Root[:i], blobtree.Listing); err == nil {
			t.Errorf("root cut to %d bytes: no error", i)
		}
	}
}

// checkLeaf reads a leaf's records and, unless they are refused, demands that they are what would be written.
func checkLeaf(t *testing.T, x blobtree.Ref, records []byte) {
	var coder entryCoder
	var back []byte
	err := eachEntry(x, records, func(e *Entry) bool {
		if err := e.check(); err != nil {
			t.Errorf("entry that no writer takes: %v", err)
		}
		back = coder.append(back, e)
		return true
	})
	if err == nil && !bytes.Equal(back, records) {
		t.Errorf("%x\n is read and written as\n%x", records, back)
	}
}

func TestListingRefuses(t *testing.T) {
	file := source.Entry{Path: "x", Type: source.File}
	for name, e := range map[string]*Entry{
		"path up":       {Entry: source.Entry{Path: "../x", Type: source.Dir}},
		"absolute path": {Entry: source.Entry{Path: "/x", Type: source.Dir}},
		"empty path":    {Entry: source.Entry{Type: source.Dir}},
		"NUL":           {Entry: source.Entry{Path: "a\x00", Type: source.Dir}},
		"long path":     {Entry: source.Entry{Path: strings.Repeat("a", blobtree.MaxPath+1), Type: source.Dir}},
		"long target":   {Entry: source.Entry{Path: "x", Type: source.Symlink, Target: strings.Repeat("a", maxTarget+1)}},
		"content":       {Entry: file, Content: stream.Whole(chunk.ID{1}, 9)},
		"xattrs":        {Entry: source.Entry{Path: "x", Type: source.Dir, Xattrs: []source.Xattr{{Name: "a", Value: make([]byte, maxXattrs)}}}},
	} {
		w := NewListingWriter(snaptest.Blobs{}.Put, sha256.Sum256(nil))
		if w.Add(e) == nil {
			t.Errorf("%s: taken", name)
		}
		if _, err := w.Finish(); err == nil {
			t.Errorf("%s: finished after an error", name)
		}
	}
	w := NewListingWriter(snaptest.Blobs{}.Put, sha256.Sum256(nil))
	if w.Add(&Entry{Entry: source.Entry{Path: "b", Type: source.Dir}}) != nil || w.Add(&Entry{Entry: source.Entry{Path: "a", Type: source.Dir}}) == nil {
		t.Error("entries out of order are taken")
	}
}

func BenchmarkListing(b *testing.B) {
	entries := mastodonTree(5, 5000)
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			writeListing(b, snaptest.Blobs{}, entries)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(entries)), "ns/entry")
	})
	m := snaptest.Blobs{}
	l := writeListing(b, m, entries)
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			for _, err := range l.entries(context.Background(), m, nil) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(entries)), "ns/entry")
	})
}

// extremes are lengths and sizes at which something ends.
var extremes = []int64{0, 1, 127, 128, chunk.MaxSize, chunk.MaxSize + 1, 1<<61 - 1, 1 << 61, 1<<61 + 1, math.MaxInt64, -1, math.MinInt64}

// extremeEntry returns an entry of whatever a file system may say.
func extremeEntry(r *rand.Rand, i int, most []source.Xattr) *Entry {
	pick := func() int64 { return extremes[r.IntN(len(extremes))] }
	bytesOf := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(1 + r.IntN(255))
			if b[i] == '/' {
				b[i] = 0xff
			}
		}
		return string(b)
	}
	path := fmt.Sprintf("%06d", i)
	for range r.IntN(2) * r.IntN(70) {
		path += "/" + bytesOf(1+r.IntN(255))
	}
	x := &Entry{Entry: source.Entry{Path: path, Type: source.Type("fffdlpsbcx"[r.IntN(10)]), Mode: uint32(r.IntN(1 << 12)),
		UID: uint32(pick()), GID: uint32(pick()), MTime: pick()}}
	switch x.Type {
	case source.File:
		x.CTime, x.Dev, x.Inode, x.Nlink, x.Size = pick(), uint64(pick()), uint64(pick()), uint64(pick()), pick()
		switch {
		case r.IntN(4) == 0 && x.Size != 0:
			x.Link = "!" + bytesOf(r.IntN(2)*r.IntN(blobtree.MaxPath))
		case x.Size > 0 && x.Size <= chunk.MaxSize:
			x.Content = stream.Whole(snaptest.RandomID(r), x.Size)
		case x.Size > 0:
			x.Content = stream.Recipe{Size: x.Size, Root: snaptest.Chunk(nil, x.Size, chunk.ID{})}
		}
	case source.Symlink:
		x.Target = bytesOf(r.IntN(2) * r.IntN(maxTarget+2))
	case source.Block, source.Char:
		x.Rdev = uint64(pick())
	}
	switch r.IntN(12) {
	case 0:
		x.Xattrs = []source.Xattr{{Name: "user.large", Value: make([]byte, 64<<10)}, {Name: "user." + bytesOf(250), Value: []byte{}}}
	case 1: // as many as there can be
		x.Xattrs = most
	case 2:
		x.Xattrs = []source.Xattr{{Value: []byte("nameless")}}
	}
	return x
}

// Whatever an entry holds: it is refused by itself, or what is written can be read.
func TestListingOfExtremes(t *testing.T) {
	var most []source.Xattr
	for i := range maxAttrs {
		most = append(most, source.Xattr{Name: fmt.Sprintf("a%07x", i), Value: []byte{}})
	}
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 9))
		m := snaptest.Blobs{}
		w := NewListingWriter(m.Put, sha256.Sum256([]byte("key")))
		var want []*Entry
		for i := range 300 {
			x := extremeEntry(r, i, most)
			if x.check() != nil {
				continue
			}
			if err := w.Add(x); err != nil {
				t.Fatal(err)
			}
			want = append(want, x)
		}
		l, err := w.Finish()
		if err != nil || l.check() != nil || len(want) < 50 {
			t.Fatal(err, l.check(), len(want))
		}
		i := 0
		for got, err := range l.entries(t.Context(), m, nil) {
			if err != nil {
				t.Fatalf("seed %d, behind %d of %d entries: %v", seed, i, len(want), err)
			}
			x := *want[i]
			x.Nlink = 0 // not kept
			if !reflect.DeepEqual(*got, x) {
				t.Errorf("seed %d: read %.500q\nfor %.500q", seed, fmt.Sprint(*got), fmt.Sprint(x))
			}
			i++
		}
		if i != len(want) {
			t.Errorf("seed %d: %d entries of %d", seed, i, len(want))
		}
	}
}
