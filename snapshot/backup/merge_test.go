package backup

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"permafrost/chunk"
	"permafrost/internal/snaptest"
	"permafrost/snapshot"
	"permafrost/snapshot/stream"
	"permafrost/source"
)

// A merge says of each file what a look-up by its path in the whole of the old listing would say.
func TestMerge(t *testing.T) {
	const limit = 1_000_000
	changes := []func(e *source.Entry){
		func(e *source.Entry) { e.Size++ }, func(e *source.Entry) { e.MTime++ }, func(e *source.Entry) { e.CTime++ },
		func(e *source.Entry) { e.Inode++ },
	}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 3))
		var old []*snapshot.Entry
		var now []source.Entry
		want := make(map[string]bool)
		for i := range r.IntN(3000) {
			e := source.Entry{Path: fmt.Sprintf("%d/%x", r.IntN(30), i), Type: source.File, Size: 1 + r.Int64N(1000), Inode: r.Uint64N(1 << 40),
				MTime: r.Int64N(limit), CTime: r.Int64N(limit)}
			x := &snapshot.Entry{Entry: e, Content: stream.Whole(chunk.ID{1, byte(i), byte(i >> 8)}, e.Size)}
			wanted := true
			switch r.IntN(12) {
			case 0:
				x, wanted = nil, false // it is new
			case 1:
				changes[r.IntN(len(changes))](&e)
				wanted = false
			case 2:
				x.CTime = limit + r.Int64N(2)
				e.CTime, wanted = x.CTime, false
			case 3:
				x.MTime = limit + r.Int64N(2)
				e.MTime, wanted = x.MTime, false
			case 4:
				x.Link, x.Content, wanted = "!", stream.Recipe{}, false
			case 5:
				x.Entry = source.Entry{Path: e.Path, Type: source.Symlink, MTime: e.MTime}
				x.Content, wanted = stream.Recipe{}, false
			case 6:
				x.Mode, e.UID = 0o600, 7 // which does not matter
			}
			if x != nil {
				old = append(old, x)
			}
			if r.IntN(10) > 0 { // else it is gone
				now = append(now, e)
				want[e.Path] = wanted
			}
		}
		slices.SortFunc(old, func(a, b *snapshot.Entry) int { return source.ComparePaths(a.Path, b.Path) })
		slices.SortFunc(now, func(a, b source.Entry) int { return source.ComparePaths(a.Path, b.Path) })
		m := snaptest.Blobs{}
		manifest := &snapshot.Manifest{Media: snapshot.Media{State: snapshot.Captured, Listing: storeListing(t, m, old)},
			Boundary: snapshot.Boundary{MediaFrom: time.Unix(0, limit).Add(racyWindow)}}
		g := newMerge(t.Context(), manifest, m, sameness{}, func(err error) { t.Error(err) })
		for i := range now {
			if got := g.content(&now[i]); (got != nil) != want[now[i].Path] {
				t.Errorf("seed %d: %+v: %v", seed, now[i], got)
			}
		}
		g.stop()
	}
}

// A listing that can't be read makes every file a changed one, and is told once.
func TestMergeDamaged(t *testing.T) {
	m := snaptest.Blobs{}
	entries := manyFiles(6, 2000)
	manifest := &snapshot.Manifest{Media: snapshot.Media{State: snapshot.Captured, Listing: storeListing(t, m, entries)}, Boundary: snapshot.Boundary{MediaFrom: time.Now()}}
	for i, id := range m.Sorted() {
		if i%3 == 0 {
			delete(m, id)
		}
	}
	told := 0
	g := newMerge(t.Context(), manifest, m, sameness{}, func(error) { told++ })
	defer g.stop()
	found := 0
	for _, e := range entries {
		if e.Type == source.File && g.content(&e.Entry) != nil {
			found++
		}
	}
	if told != 1 || found > len(entries)/4 {
		t.Errorf("told %d times, %d files found", told, found)
	}
	if newMerge(t.Context(), nil, m, sameness{}, nil).content(&entries[0].Entry) != nil {
		t.Error("content out of nothing")
	}
}

// Hard links are remembered until their last name has come, and no more than so many.
func TestHardLinks(t *testing.T) {
	h := make(hardLinks)
	e := func(path string, inode, nlink uint64) *source.Entry {
		return &source.Entry{Path: path, Type: source.File, Inode: inode, Nlink: nlink}
	}
	for _, c := range []struct {
		e      *source.Entry
		first  string
		shared bool
	}{
		{e("a", 1, 2), "", true}, {e("b", 2, 1), "", false}, {e("c", 3, 3), "", true}, {e("d", 1, 2), "a", true}, {e("e", 3, 3), "c", true},
	} {
		if first, shared := h.first(c.e); first != c.first || shared != c.shared {
			t.Errorf("%s: %q, %v", c.e.Path, first, shared)
		}
	}
	if len(h) != 1 {
		t.Errorf("%d inodes are remembered", len(h))
	}
	for i := range uint64(maxHardLinks + 10) {
		h.first(e("x", 10+i, 2))
	}
	if len(h) > maxHardLinks {
		t.Errorf("%d inodes are remembered", len(h))
	}
}

// What has the size and time of before and another ctime or inode is read again, and counted, unless a setting leaves that out.
func TestMergeSameness(t *testing.T) {
	m := snaptest.Blobs{}
	old := manyFiles(7, 50)
	manifest := &snapshot.Manifest{Media: snapshot.Media{State: snapshot.Captured, Listing: storeListing(t, m, old)}, Boundary: snapshot.Boundary{MediaFrom: time.Now()}}
	for name, x := range map[string]struct {
		ctime, inode bool // differ
		same         sameness
		again        bool
	}{
		"as before":              {false, false, sameness{}, false},
		"ctime":                  {true, false, sameness{}, true},
		"inode":                  {false, true, sameness{}, true},
		"copied":                 {true, true, sameness{}, true},
		"ctime ignored":          {true, false, sameness{ignoreCTime: true}, false},
		"inode ignored":          {false, true, sameness{ignoreInode: true}, false},
		"copied, one ignored":    {true, true, sameness{ignoreInode: true}, true},
		"copied, other ignored":  {true, true, sameness{ignoreCTime: true}, true},
		"copied, both ignored":   {true, true, sameness{true, true}, false},
		"ctime after last night": {true, false, sameness{ignoreCTime: true}, false},
	} {
		g := newMerge(t.Context(), manifest, m, x.same, func(err error) { t.Error(err) })
		files, bytes := int64(0), int64(0)
		for _, e := range old {
			if e.Type != source.File {
				continue
			}
			now := e.Entry
			if x.ctime {
				now.CTime += 5
			}
			if x.inode {
				now.Inode++
			}
			files, bytes = files+1, bytes+e.Size
			if got := g.content(&now); (got == nil) != x.again {
				t.Fatalf("%s: %+v", name, got)
			}
		}
		g.stop()
		want := reread{}
		if x.again {
			want = reread{files, bytes, x.ctime && !x.same.ignoreCTime, x.inode && !x.same.ignoreInode}
		}
		if g.again != want {
			t.Errorf("%s: counted %+v, want %+v", name, g.again, want)
		}
		changed := old[len(old)-1].Entry
		changed.MTime++
		if g := newMerge(t.Context(), manifest, m, sameness{true, true}, nil); g.content(&changed) != nil {
			t.Errorf("%s: another time is taken for the same", name)
		}
	}
}

func storeListing(t testing.TB, m snaptest.Blobs, entries []*snapshot.Entry) snapshot.Listing {
	t.Helper()
	w := snapshot.NewListingWriter(m.Put, sha256.Sum256([]byte("key")))
	for _, e := range entries {
		if err := w.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	l, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// manyFiles returns n directories with two files each, as a listing has them.
func manyFiles(seed uint64, n int) (all []*snapshot.Entry) {
	r := rand.New(rand.NewPCG(seed, 1))
	all = append(all, &snapshot.Entry{Entry: source.Entry{Path: ".", Type: source.Dir, Mode: 0o755}})
	for i := range n {
		dir := fmt.Sprintf("%03d/%06d", i/100, i)
		all = append(all, &snapshot.Entry{Entry: source.Entry{Path: dir, Type: source.Dir, Mode: 0o755}})
		for _, name := range []string{"original.jpg", "small.jpg"} {
			e := &snapshot.Entry{Entry: source.Entry{Path: dir + "/" + name, Type: source.File, Mode: 0o644, MTime: 1_680_000_000_000_000_000 + r.Int64N(1e15), Inode: r.Uint64(), Dev: 2049, Size: 4000 + r.Int64N(300_000)}}
			e.CTime = e.MTime + 30_000
			e.Content = stream.Whole(snaptest.RandomID(r), e.Size)
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b *snapshot.Entry) int { return source.ComparePaths(a.Path, b.Path) })
	return all
}
