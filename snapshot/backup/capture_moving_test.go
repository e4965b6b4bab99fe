package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"permafrost/internal/snaptest"

	"golang.org/x/sys/unix"

	"permafrost/chunk"
	"permafrost/internal/storetest"
	"permafrost/source"
)

// replace gives a name another file, in one step.
func replace(name string, data []byte, mode os.FileMode) error {
	tmp := name + ".tmp"
	return errors.Join(os.WriteFile(tmp, data, 0o600), os.Chmod(tmp, mode), os.Rename(tmp, name))
}

// A file that is another one by the time it is read, or has another content, is stored whole as it is then, with the
// attributes that it has then.
func TestCaptureChangedSinceWalk(t *testing.T) {
	large := storetest.Random(1, 3*chunk.MaxSize)
	for _, c := range []struct {
		name     string
		was, now []byte
		change   func(name string, data []byte) error
	}{
		{"shorter", []byte("4444"), []byte("44"), nil},
		{"longer", []byte("3"), []byte("3 and more"), nil},
		{"of the same length", []byte("one"), []byte("two"), nil},
		{"empty", []byte("8"), nil, nil},
		{"large", []byte("l"), large, nil},
		{"beyond its buffer", []byte("b"), large[:100_000], nil},
		{"large and longer", large[:2*chunk.MaxSize], large, nil},
		{"large and shorter", large, large[:2*chunk.MaxSize-7], nil},
		{"small", large, []byte("s"), nil},
	} {
		for how, change := range map[string]func(name string) error{
			"replaced": func(name string) error { return replace(name, c.now, 0o640) },
			"rewritten": func(name string) error {
				return errors.Join(os.WriteFile(name, c.now, 0), os.Chmod(name, 0o640))
			},
			"removed first": func(name string) error { // so that the inode is used again
				return errors.Join(os.Remove(name), os.WriteFile(name, c.now, 0o600), os.Chmod(name, 0o640))
			},
		} {
			t.Run(c.name+", "+how, func(t *testing.T) {
				dir := t.TempDir()
				snaptest.WriteFiles(t, dir, snaptest.File{Path: "f", Data: c.was}, snaptest.File{Path: "g", Data: []byte("good")})
				w := newWorld(t)
				var once sync.Once
				n := w.capture(dir, nil, func(m *meddler) {
					m.before = func(path string) (err error) {
						if path == "f" {
							once.Do(func() { err = change(filepath.Join(dir, path)) })
						}
						return err
					}
				})
				e := n.entries["f"]
				if n.media.LeftOut+int(n.media.Vanished) > 0 || n.media.Changed != 1 || e == nil || e.Mode != 0o640 {
					t.Fatalf("%+v, %q; %+v", n.media, n.warned, e)
				}
				if got := w.content(n, "f"); !bytes.Equal(got, c.now) || e.Size != int64(len(c.now)) {
					t.Errorf("%d bytes come back of %d, which are not those", len(got), len(c.now))
				}
			})
		}
	}
}

// What is written to while it is read is read again; what is replaced or removed is whole as it was; what is written to all
// the time is left out, by name and in bounded time. Holes make no difference.
func TestCaptureChangedWhileRead(t *testing.T) {
	old, fresh := storetest.Random(1, 3*chunk.MaxSize), storetest.Random(2, 3*chunk.MaxSize+5)
	sparse := append(make([]byte, 2*chunk.MaxSize), old[:chunk.MaxSize]...)
	appends := func(name string) error {
		f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString("line\n")
		return errors.Join(err, f.Close())
	}
	for name, c := range map[string]struct {
		was    []byte
		change func(name string) error
		always bool
		want   []byte // nil: left out
	}{
		"rewritten":            {old, func(name string) error { return os.WriteFile(name, fresh, 0o644) }, false, fresh},
		"cut":                  {old, func(name string) error { return os.Truncate(name, 100) }, false, old[:100]},
		"sparse and rewritten": {sparse, func(name string) error { return os.WriteFile(name, fresh, 0o644) }, false, fresh},
		"replaced":             {old, func(name string) error { return replace(name, fresh, 0o600) }, false, old},
		"replaced all along":   {old, func(name string) error { return replace(name, fresh, 0o600) }, true, old},
		"removed":              {old, os.Remove, false, old},
		"appended to":          {old, appends, false, append(bytes.Clone(old), "line\n"...)},
		"a log":                {old, appends, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "f")
			snaptest.WriteFiles(t, dir, snaptest.File{Path: "f", Data: c.was})
			if c.was[0] == 0 {
				f, err := os.Create(path)
				if err != nil {
					t.Fatal(err)
				}
				_, err = f.WriteAt(c.was[2*chunk.MaxSize:], 2*chunk.MaxSize)
				if err = errors.Join(err, f.Close()); err != nil {
					t.Fatal(err)
				}
			}
			w := newWorld(t)
			done := false
			n := w.capture(dir, nil, func(m *meddler) {
				m.stores = func() error {
					if done && !c.always {
						return nil
					}
					done = true
					return c.change(path)
				}
			})
			if c.want == nil {
				if n.media.LeftOut != 1 || n.entries["f"] != nil || len(n.opened) > 6 || !strings.Contains(n.media.Left[0].Reason, "being written to") {
					t.Errorf("%+v, opened %d times", n.media, len(n.opened))
				}
				return
			}
			if n.media.LeftOut > 0 || n.entries["f"] == nil {
				t.Fatalf("%+v, %q", n.media, n.warned)
			}
			if got := w.content(n, "f"); !bytes.Equal(got, c.want) || n.entries["f"].Size != int64(len(c.want)) {
				t.Errorf("%d bytes come back of %d, which are not those", len(got), len(c.want))
			}
		})
	}
}

// Beside a writer that replaces a file as fast as it can, what is stored is always one of its versions, and never nothing.
func TestCaptureBesideWriter(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "f")
	version := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 10_000+100*(i%50)) }
	mode := func(i int) os.FileMode { return os.FileMode(0o600 | i%8) }
	if err := replace(name, version(0), mode(0)); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := replace(name, version(i), mode(i)); err != nil {
				stopped <- err
				return
			}
		}
	}()
	w := newWorld(t)
	for range 10 {
		n := w.capture(dir, nil, nil)
		e := n.entries["f"]
		if e == nil {
			t.Errorf("left out: %+v", n.media)
			continue
		}
		got := w.content(n, "f")
		i := int(got[0])
		if whole := bytes.Count(got, got[:1]) == len(got); !whole || int64(len(got)) != e.Size {
			t.Errorf("%d bytes of several versions", len(got))
		}
		// The number is known by its remainder of 256, of which 8 is a divisor.
		if want := mode(i); os.FileMode(e.Mode) != want {
			t.Errorf("version %d of mode %o has mode %o", i, want, e.Mode)
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// A further name is stored as one only of the content that it has.
func TestCaptureHardLinksMove(t *testing.T) {
	for name, meddle := range map[string]func(dir string, m *meddler){
		// The inode of a file that was deleted during the walk is given to a new one.
		"inode used again": func(dir string, m *meddler) {
			first := new(source.Entry)
			m.walked = func(e *source.Entry) error {
				if e.Path == "a" {
					*first = *e
				}
				if e.Path == "aa" {
					e.Dev, e.Inode, e.Nlink = first.Dev, first.Inode, 2
				}
				return nil
			}
		},
		"first name replaced": func(dir string, m *meddler) {
			m.before = func(path string) error {
				if path == "a" {
					return replace(filepath.Join(dir, path), []byte("new a"), 0o644)
				}
				return nil
			}
		},
		"first name replaced, then the second": func(dir string, m *meddler) {
			m.before = func(path string) error {
				if path == "a" || path == "b" {
					return replace(filepath.Join(dir, path), []byte("new "+path), 0o644)
				}
				return nil
			}
		},
		"content rewritten": func(dir string, m *meddler) {
			m.before = func(path string) error {
				if path == "a" {
					return os.WriteFile(filepath.Join(dir, path), []byte("new content"), 0o644)
				}
				return nil
			}
		},
		"a name removed": func(dir string, m *meddler) {
			m.before = func(path string) error {
				if path == "a" {
					return os.Remove(filepath.Join(dir, "b"))
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			snaptest.WriteFiles(t, dir, snaptest.File{Path: "a", Data: []byte("old")}, snaptest.File{Path: "b", Link: "a"}, snaptest.File{Path: "c", Link: "a"},
				snaptest.File{Path: "aa", Data: []byte("zzz")})
			w := newWorld(t)
			n := w.capture(dir, nil, func(m *meddler) { meddle(dir, m) })
			for path := range n.entries {
				if path == "." {
					continue
				}
				want, err := os.ReadFile(filepath.Join(dir, path))
				if errors.Is(err, os.ErrNotExist) {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if got := w.content(n, path); !bytes.Equal(got, want) {
					t.Errorf("%s: %q for %q", path, got, want)
				}
			}
			if n.media.LeftOut > 0 || n.media.Files < 3 {
				t.Errorf("%+v", n.media)
			}
		})
	}
}

// An inode that looks different under a further name is no longer the one that the first name had.
func TestHardLinksOfAnInodeUsedAgain(t *testing.T) {
	old := source.Entry{Path: "a", Type: source.File, Inode: 5, Nlink: 2, Size: 10, MTime: 20, CTime: 30}
	for i, change := range []func(e *source.Entry){
		func(e *source.Entry) { e.Size++ }, func(e *source.Entry) { e.MTime++ }, func(e *source.Entry) { e.CTime++ },
	} {
		h := make(hardLinks)
		h.first(&old)
		now := old
		now.Path = "b"
		change(&now)
		if first, shared := h.first(&now); first != "" || !shared {
			t.Errorf("%d: the first name of %q is %q", i, now.Path, first)
		}
		again := now
		again.Path = "c"
		if first, _ := h.first(&again); first != "b" {
			t.Errorf("%d: the first name of %q is %q", i, again.Path, first)
		}
	}
}

// Directories that are renamed to names that the walk is past are a part left out, and told with how many files they had. Single
// files that vanish are not.
func TestCaptureManyVanish(t *testing.T) {
	for renamed, leftOut := range map[int]int{1: 0, 30: 300} {
		dir := t.TempDir()
		for i := range 60 {
			for j := range 10 {
				snaptest.WriteFiles(t, dir, snaptest.File{Path: fmt.Sprintf("d/%02d/%d", i, j), Data: []byte{byte(i), byte(j)}})
			}
		}
		w := newWorld(t)
		var once sync.Once
		n := w.capture(dir, nil, func(m *meddler) {
			m.before = func(string) (err error) {
				once.Do(func() {
					for i := 60 - renamed; i < 60; i++ {
						err = errors.Join(err, os.Rename(filepath.Join(dir, fmt.Sprintf("d/%02d", i)), filepath.Join(dir, fmt.Sprintf("d/!%02d", i))))
					}
				})
				return err
			}
		})
		// Some directories may have been walked before they were renamed, and none of their files read; or the other way round.
		gone := int64(renamed * 10)
		if n.media.Files+n.media.Vanished < 600 || n.media.Vanished < gone-10 || n.media.Vanished > gone+int64(renamed)+10 {
			t.Errorf("%d renamed: %+v", renamed, n.media)
		}
		if few := n.media.LeftOut < 20; few != (leftOut == 0) || !few && (len(n.media.Left) != 1 || !strings.Contains(n.media.Left[0].Reason, "renamed")) {
			t.Errorf("%d renamed: %d left out, %+v", renamed, n.media.LeftOut, n.media.Left)
		}
	}
}

// What no other file system has tmpfs has: a file that is larger than a snapshot can hold is left out by name, and so are
// those that would be too much together; a time that no listing has room for is named, and the file is kept.
func TestCaptureExtremes(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "permafrost")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	sparse := func(name string, size int64) error {
		return errors.Join(os.WriteFile(filepath.Join(dir, name), []byte("island"), 0o644), os.Truncate(filepath.Join(dir, name), size))
	}
	far := time.Date(2446, 5, 10, 1, 2, 3, 4, time.UTC)
	when := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: far.Unix(), Nsec: 4}}
	snaptest.WriteFiles(t, dir, snaptest.File{Path: "far", Data: []byte("far")}, snaptest.File{Path: "good", Data: []byte("good")})
	if err := errors.Join(sparse("huge", 1<<62), sparse("most", math.MaxInt64), sparse("a", 1<<61-100), sparse("b", 1<<60), sparse("c", 1<<40),
		unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(dir, "far"), when, 0)); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	var last *night
	for range 2 {
		n := w.capture(dir, last, nil)
		var left []string
		for _, l := range n.media.Left {
			left = append(left, string(l.Path))
		}
		if want := []string{"b", "c", "far", "huge", "most"}; !slices.Equal(left, want) || n.media.Changed > 0 || invalid(n.media) != nil {
			t.Errorf("left out: %+v; %v", n.media, invalid(n.media))
		}
		if string(w.content(n, "far")) != "far" || string(w.content(n, "good")) != "good" || n.entries["a"].Size != 1<<61-100 {
			t.Error("what can be kept is not")
		}
		last = n
	}
}

// A directory that can't be read is told as one: everything below it is missing, and how many files that was, as far as the
// snapshot before tells.
func TestCaptureUnreadableDirectory(t *testing.T) {
	const his = 54321
	dir := snaptest.OpenDir(t)
	snaptest.WriteFiles(t, dir, snaptest.File{Path: "good", Data: []byte("good")})
	for i := range 57 {
		snaptest.WriteFiles(t, dir, snaptest.File{Path: fmt.Sprintf("closed/below/%d", i), Data: []byte{byte(i)}})
	}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error { return errors.Join(err, os.Lchown(path, his, his)) })
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	before := w.capture(dir, nil, nil)
	if err := os.Chmod(filepath.Join(dir, "closed"), 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		before  *night
		leftOut int
		says    string
	}{{nil, 1, "everything below it is missing: permission"}, {before, 57, "everything below it is missing: 57 files in the snapshot before: permission"}} {
		m := w.capture(dir, c.before, nil).media
		if m.LeftOut != c.leftOut || len(m.Left) != 1 || m.Left[0].Path != "closed" || !strings.Contains(m.Left[0].Reason, c.says) || invalid(m) != nil {
			t.Errorf("left out: %d, %+v, %v", m.LeftOut, m.Left, invalid(m))
		}
	}
}
