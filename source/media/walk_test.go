package media

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// Random trees, of names that sort differently by path than by bytes, come in the order of ComparePaths, whole.
func TestWalkOrder(t *testing.T) {
	withoutOpenat2(t, func(t *testing.T) {
		for seed := range uint64(8) {
			root := t.TempDir()
			r := rand.New(rand.NewPCG(seed, 1))
			want := append(randomTree(t, r, root, "", 0), ".")
			slices.SortFunc(want, source.ComparePaths)
			tree := openTree(t, root, Options{})
			for range 3 {
				if got := paths(walk(t, tree)); !slices.Equal(got, want) {
					t.Fatalf("seed %d: %d entries, want %d\n%.500q\n%.500q", seed, len(got), len(want), got, want)
				}
			}
		}
	})
}

func randomTree(t *testing.T, r *rand.Rand, root, prefix string, depth int) []string {
	t.Helper()
	const bytes = "a-./\x01\n\xff0"
	var all []string
	for range r.IntN(9) {
		name := make([]byte, 1+r.IntN(3))
		for i := range name {
			name[i] = bytes[r.IntN(len(bytes))]
		}
		path := prefix + string(name)
		if !hostfs.ValidPath(string(name)) || strings.Contains(string(name), "/") || slices.Contains(all, path) {
			continue
		}
		all = append(all, path)
		if r.IntN(2) == 0 && depth < 5 {
			must(t, os.Mkdir(filepath.Join(root, path), 0o755))
			all = append(all, randomTree(t, r, root, path+"/", depth+1)...)
		} else {
			must(t, os.WriteFile(filepath.Join(root, path), nil, 0o644))
		}
	}
	return all
}

// Directories larger than a batch are one sorted sequence too, with directories among the files.
func TestWalkLargeDirectory(t *testing.T) {
	root := t.TempDir()
	want := []string{"."}
	for i := range 3*batchLen + 1 {
		name := fmt.Sprintf("%04d", i)
		want = append(want, name)
		if i%100 == 7 {
			write(t, root, name+"/x")
			want = append(want, name+"/x")
		} else {
			write(t, root, name)
		}
	}
	if got := paths(walk(t, openTree(t, root, Options{}))); !slices.Equal(got, want) {
		t.Errorf("%d entries, want %d", len(got), len(want))
	}
}

func TestWalkAttributes(t *testing.T) {
	root := t.TempDir()
	write(t, root, "f")
	must(t, os.Link(filepath.Join(root, "f"), filepath.Join(root, "g")))
	var st unix.Stat_t
	must(t, unix.Lstat(filepath.Join(root, "f"), &st))
	e := find(t, walk(t, openTree(t, root, Options{})), "g")
	if e.Type != source.File || e.Inode != st.Ino || e.Dev != st.Dev || e.Nlink != 2 || e.Size != 1 || e.Alloc != st.Blocks*512 ||
		e.UID != st.Uid || e.GID != st.Gid || e.Mode != 0o644 || e.MTime != st.Mtim.Nano() || e.CTime != st.Ctim.Nano() {
		t.Errorf("got %+v for %+v", e, st)
	}
}

func TestOpenTree(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "file", "new/.gitkeep", "new/lost+found/", "used/accounts/")
	must(t, os.Symlink("used", filepath.Join(dir, "link")))
	for name, want := range map[string]string{"absent": "no such file", "file": "not a directory"} {
		_, err := Open(filepath.Join(dir, name), Options{})
		if err == nil || !strings.Contains(err.Error(), want) || source.CauseOf(err).Cause == "" {
			t.Errorf("%s: got %v, %v", name, err, source.CauseOf(err))
		}
	}
	for name, empty := range map[string]bool{"new": true, "used": false, "link": false} {
		if tree := openTree(t, filepath.Join(dir, name), Options{}); tree.Empty() != empty {
			t.Errorf("%s: empty %v", name, !empty)
		}
	}
}

// What can't be read is yielded with its error, and the rest is walked all the same.
func TestWalkUnreadable(t *testing.T) {
	if asNobody(t) {
		return
	}
	root := t.TempDir()
	write(t, root, "a/secret/x", "b/x", "c", "names/x")
	must(t, os.Chmod(filepath.Join(root, "a/secret"), 0o700-0o400))
	must(t, os.Chmod(filepath.Join(root, "b"), 0))
	must(t, os.Chmod(filepath.Join(root, "names"), 0o400)) // its names can be read, but nothing of them
	defer os.Chmod(filepath.Join(root, "names"), 0o700)
	defer os.Chmod(filepath.Join(root, "a/secret"), 0o700)
	defer os.Chmod(filepath.Join(root, "b"), 0o700)
	tree := openTree(t, root, Options{})
	var got []string
	for e, err := range tree.Walk(context.Background()) {
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", e.Path, err)
		}
		got = append(got, fmt.Sprintf("%s %q %o %v", e.Path, byte(e.Type), e.Mode, err != nil))
	}
	want := []string{"a 'd' 755 false", "a/secret 'd' 300 true", "b 'd' 0 true", "c 'f' 644 false", "names 'd' 400 false", `names/x '\x00' 0 true`}
	if !slices.Equal(got[1:], want) { // the root's mode is TempDir's business
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if tree.Vanished() != (Vanished{}) {
		t.Errorf("vanished: %+v", tree.Vanished())
	}
}

// Entries that go between the reading of a directory and their own are counted, and nothing is found in what takes
// their place.
func TestWalkVanished(t *testing.T) {
	withoutOpenat2(t, func(t *testing.T) {
		root, outside := t.TempDir(), t.TempDir()
		write(t, outside, "treasure")
		for i := range batchLen {
			write(t, root, fmt.Sprintf("d/%04d", i))
		}
		write(t, root, "d/x", "d/y", "d/z", "gone/a", "link/a", "file/a", "stays/a")
		tree := openTree(t, root, Options{})
		r := newReader(tree)
		top := &batch{self: &source.Entry{Path: "."}}
		r.read(top)
		sub := func(name string) *batch {
			i := slices.IndexFunc(top.subs, func(b batch) bool { return b.self.Path == name })
			r.read(&top.subs[i])
			return &top.subs[i]
		}
		d := sub("d")
		for _, name := range []string{"gone", "link", "file", "d/x", "d/z"} {
			must(t, os.RemoveAll(filepath.Join(root, name)))
		}
		must(t, os.Symlink(outside, filepath.Join(root, "link")))
		write(t, root, "file")
		for _, name := range []string{"gone", "link", "file"} {
			if b := sub(name); !b.vanished || len(b.entries) > 0 {
				t.Errorf("%s: not gone; entries %+v", name, b.entries)
			}
		}
		if b := sub("stays"); b.vanished || len(b.entries) != 1 {
			t.Errorf("stays: %+v", b)
		}
		r.read(d.rest)
		if len(d.rest.entries) != 1 || d.rest.entries[0].Path != "d/y" || tree.Vanished().Entries != 2 {
			t.Errorf("vanished: %+v; left %+v", tree.Vanished(), d.rest.entries)
		}
		must(t, os.RemoveAll(filepath.Join(root, "d")))
		again := &batch{dir: d.rest.dir, index: d.rest.index}
		r.read(again)
		if len(again.entries) != 0 || len(again.errs) != 0 || tree.Vanished().Entries != 5 {
			t.Errorf("of a directory that has vanished: %+v", again)
		}
	})
}

// What was in directories that get an earlier name during the walk is counted by what is in others.
func TestWalkDirectoriesRenamed(t *testing.T) {
	root := t.TempDir()
	for i := range 40 {
		for j := range 10 {
			write(t, root, fmt.Sprintf("d/%02d/a/%d", i, j))
		}
	}
	tree := openTree(t, root, Options{})
	files := 0
	w := newWalker(context.Background(), tree, func(e *source.Entry, err error) bool {
		if e.Path == "d/00" {
			for i := 20; i < 40; i++ {
				must(t, os.Rename(filepath.Join(root, fmt.Sprintf("d/%02d", i)), filepath.Join(root, fmt.Sprintf("d/!%02d", i))))
			}
		}
		if e.Type == source.File {
			files++
		}
		return err == nil
	})
	w.visit(w.first) // nobody reads ahead
	if got, want := tree.Vanished(), (Vanished{Entries: 20, Below: 200, First: "d/20"}); files != 200 || got != want {
		t.Errorf("%d files; vanished: %+v, want %+v", files, got, want)
	}
}

// A root that is removed under the walk is an error, not an empty tree.
func TestWalkRootRemoved(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	write(t, root, "a")
	tree := openTree(t, root, Options{})
	must(t, os.RemoveAll(root))
	n := 0
	for e, err := range tree.Walk(context.Background()) {
		if n++; e.Path != "." || err == nil {
			t.Errorf("%+v, %v", e, err)
		}
	}
	if n != 1 {
		t.Errorf("%d entries", n)
	}
}

func TestWalkOtherFileSystems(t *testing.T) {
	// /dev has other file systems below it wherever these tests can run: /dev/pts at least.
	tree := openTree(t, "/dev", Options{})
	mounts, below, dev := 0, 0, uint64(0)
	for e, err := range tree.Walk(context.Background()) {
		switch {
		case err != nil:
		case e.Path == ".":
			dev = e.Dev
		case e.Dev != dev && e.Type == source.Dir:
			mounts++
		case e.Dev != dev:
			below++
		}
	}
	if mounts == 0 || below == 0 {
		t.Errorf("%d mount points, %d files below them", mounts, below)
	}
}

// A walk that is broken off, or cancelled, leaves no goroutine behind.
func TestWalkEnds(t *testing.T) {
	root := t.TempDir()
	for i := range 300 {
		write(t, root, fmt.Sprintf("%d/a/b/c", i))
	}
	tree := openTree(t, root, Options{})
	before := runtime.NumGoroutine()
	for stop := range 40 {
		n := 0
		for range tree.Walk(context.Background()) {
			if n++; n > stop {
				break
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		var last error
		n = 0
		for e, err := range tree.Walk(ctx) {
			if n++; n == stop {
				cancel()
			}
			if last = err; err != nil && e != nil {
				t.Errorf("%+v: %v", e, err)
			}
		}
		if stop > 0 && (!errors.Is(last, context.Canceled) || n != stop+1) {
			t.Errorf("cancelled at %d of %d: last error %v", stop, n, last)
		}
		cancel()
	}
	func() {
		defer func() { recover() }()
		for range tree.Walk(context.Background()) {
			panic("in the loop")
		}
	}()
	// A goroutine that is waited for is counted a moment longer.
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines more", runtime.NumGoroutine()-before)
		}
	}
}

// However slow the loop is, no more than maxAhead is read ahead of it, and a batch for each reader.
func TestWalkAhead(t *testing.T) {
	root := t.TempDir()
	below := strings.Repeat(strings.Repeat("d", 199)+"/", 18) // a path weighs as much as its bytes
	want := 1 + 18
	for i := range 100 {
		want += 1 + 30
		write(t, root, fmt.Sprintf("%s%d/", below, i))
		dir, err := os.OpenRoot(filepath.Join(root, fmt.Sprintf("%s%d", below, i)))
		must(t, err)
		for j := range 30 {
			must(t, dir.WriteFile(fmt.Sprint(j), nil, 0o644))
		}
		must(t, dir.Close())
	}
	n, again := 0, false
	var w *walker
	w = newWalker(context.Background(), openTree(t, root, Options{}), func(e *source.Entry, err error) bool {
		n++
		w.mu.Lock()
		low := w.ahead <= maxAhead/2
		w.mu.Unlock()
		if n == 1 || low && !again {
			again = n > 1
			waitFull(t, w)
		}
		return err == nil && !t.Failed()
	})
	w.start()
	w.visit(w.first)
	w.stop()
	if n != want || !again {
		t.Errorf("%d entries of %d; read ahead again: %v", n, want, again)
	}
}

// waitFull waits until the readers rest with enough read ahead, and checks that the loop's next comes first.
func waitFull(t *testing.T, w *walker) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
		w.mu.Lock()
		ahead, idle := w.ahead, true
		var todo []string
		for b := w.todo.next; b != &w.todo; b = b.next {
			idle = idle && b.state != claimed
			todo = append(todo, b.self.Path)
		}
		w.mu.Unlock()
		switch {
		case !slices.IsSortedFunc(todo, source.ComparePaths):
			t.Errorf("out of order: %.1000q", todo)
		case ahead > maxAhead+16*batchLen*(entryLen+4096):
			t.Errorf("%d bytes read ahead", ahead)
		case ahead >= maxAhead && idle && len(todo) > 0:
		case time.Now().After(deadline):
			t.Errorf("%d bytes read ahead, %d directories to read", ahead, len(todo))
		default:
			continue
		}
		return
	}
}

func TestOwners(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a", "b")
	if os.Geteuid() == 0 {
		must(t, os.Chown(filepath.Join(root, "a"), 1_999_999_999, 1_999_999_998))
		must(t, os.Chown(filepath.Join(root, "b"), nobody, nobody))
	}
	tree := openTree(t, root, Options{})
	walk(t, tree)
	for range 2 {
		users, groups := tree.Owners()
		if os.Geteuid() == 0 && (users[0] != "root" || users[nobody] != "nobody" || len(users) != 2 || groups[0] != "root" || groups[nobody] != "nogroup") {
			t.Errorf("users %v, groups %v", users, groups)
		}
		if len(users) == 0 {
			t.Error("no users")
		}
	}
}

func TestNanoseconds(t *testing.T) {
	for at, want := range map[unix.Timespec]int64{
		{Sec: -1, Nsec: 999999999}: -1,
		{Sec: 1 << 60}:             1<<63 - 1,
		{Sec: -1 << 60}:            -1 << 63,
	} {
		if got := nanoseconds(at); got != want {
			t.Errorf("%v: %d", at, got)
		}
	}
}

// mastodonTree makes files in directories of their own, as public/system has them.
func mastodonTree(tb testing.TB, files int) string {
	tb.Helper()
	root := tb.TempDir()
	for i := range files {
		write(tb, root, mastodonPath(i))
	}
	return root
}

func mastodonPath(i int) string {
	id := uint64(109_000_000_000_000_000) + uint64(i)*7_919_000
	return fmt.Sprintf("cache/media_attachments/files/%03d/%03d/%03d/%03d/%03d/%03d/original/%016x.jpg",
		id/1e15, id/1e12%1000, id/1e9%1000, id/1e6%1000, id/1e3%1000, id%1000, id*2654435761)
}

func BenchmarkWalk(b *testing.B) {
	root := mastodonTree(b, 10_000)
	bench := func(name string, u *hostfs.User) {
		b.Run(name, func(b *testing.B) {
			tree := openTree(b, root, Options{User: u})
			b.ReportAllocs()
			entries := 0
			for b.Loop() {
				for _, err := range tree.Walk(context.Background()) {
					must(b, err)
					entries++
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(entries), "ns/entry")
		})
	}
	bench("own", nil)
	if os.Geteuid() == 0 {
		must(b, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error { return errors.Join(err, os.Lchown(path, his, his)) }))
		must(b, os.Chmod(filepath.Dir(root), 0o755))
		bench("as the owner", him)
	}
}
