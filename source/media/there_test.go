package media

import (
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"permafrost/source"
)

// What is restored takes the place of what is there: of a link and not of what it leads to, of one name of a file and not of its others.
func TestTargetReplaces(t *testing.T) {
	top := t.TempDir()
	write(t, top, "outside/file", "outside/dir/below", "target/plain", "target/full/below", "target/d/below")
	at := func(name string) string { return filepath.Join(top, name) }
	must(t, os.Symlink(at("outside/file"), at("target/link")))
	must(t, os.Symlink(at("outside"), at("target/dirlink")))
	must(t, os.Link(at("outside/file"), at("target/hard")))
	must(t, unix.Mkfifo(at("target/fifo"), 0o644))
	must(t, os.Mkdir(at("target/empty"), 0o755))
	must(t, os.WriteFile(at("target/"+partName("plain")), []byte("left"), 0o644))
	must(t, os.Symlink(at("outside/file"), at("target/"+partName("link"))))
	before := listing(t, at("outside"))
	var st unix.Stat_t
	must(t, unix.Stat(at("outside/file"), &st))
	target := newTarget(t, at("target"), TargetOptions{Existing: true, Replace: true, Trusted: true})
	for _, name := range []string{"plain", "link", "hard", "fifo", "empty"} {
		must(t, put(target, entry(source.File, name, 0o640)))
		if data, err := os.ReadFile(at("target/" + name)); err != nil || string(data) != name {
			t.Errorf("%s holds %q: %v", name, data, err)
		}
	}
	for _, name := range []string{"full", "dirlink/new", "dirlink/dir/new", "plain/below"} { // which takes what is in the way away
		if err := put(target, entry(source.File, name, 0o640)); err == nil || !Refuses(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, target.Dir(entry(source.Dir, "d", 0o750)))
	if err := target.Dir(entry(source.Dir, "plain", 0o750)); err == nil {
		t.Error("a directory in the place of a file")
	}
	clear := newTarget(t, at("target"), TargetOptions{Existing: true, Replace: true, Clear: true, Trusted: true})
	for _, name := range []string{"full", "dirlink/new", "plain/below", "d"} {
		must(t, put(clear, entry(source.File, name, 0o640)))
	}
	var now unix.Stat_t
	must(t, unix.Stat(at("outside/file"), &now))
	if after := listing(t, at("outside")); !slices.Equal(before, after) || now.Mtim != st.Mtim || now.Mode != st.Mode {
		t.Errorf("outside changed:\nbefore %q\nafter  %q", before, after)
	}
	if left, _ := filepath.Glob(at("target/.permafrost-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestTargetLook(t *testing.T) {
	dir := t.TempDir()
	target := newTarget(t, dir, TargetOptions{Existing: true, Replace: true, Trusted: true})
	e := entry(source.File, "a/f", 0o640)
	e.MTime = 1234567890123456789
	must(t, put(target, e))
	link := entry(source.Symlink, "link", 0o777)
	link.Target = "a"
	must(t, target.Symlink(link))
	look := func(e source.Entry, want There) {
		t.Helper()
		if is, err := target.Look(&e); err != nil || is != want {
			t.Errorf("%+v: %v, want %v: %v", e, is, want, err)
		}
	}
	with := func(change func(e *source.Entry)) source.Entry {
		c := *e
		change(&c)
		return c
	}
	look(*e, Same)
	look(with(func(e *source.Entry) { e.MTime++ }), Similar)
	look(with(func(e *source.Entry) { e.Mode = 0o600 }), Similar)
	look(with(func(e *source.Entry) { e.Size++ }), Other)
	look(with(func(e *source.Entry) { e.Type = source.FIFO; e.Size = 0 }), Other)
	look(with(func(e *source.Entry) { e.Path = "a" }), Other)
	look(with(func(e *source.Entry) { e.Path = "a/g" }), Absent)
	look(with(func(e *source.Entry) { e.Path = "a/f/below" }), Absent)
	look(with(func(e *source.Entry) { e.Path = "link/f" }), Absent)
	look(*link, Same)
	other := *link
	other.Target = "ab"
	look(other, Other)
}

// A sweep removes what is in the tree and not in the snapshot, and nothing that a link leads to or that is another file system's.
func TestSweep(t *testing.T) {
	top := t.TempDir()
	write(t, top, "outside/file", "outside/dir/below", "target/kept/file", "target/kept/extra", "target/extra/deep/er/file", "target/file.d", "target/a/spared", "target/a/gone")
	at := func(name string) string { return filepath.Join(top, name) }
	must(t, os.Symlink(at("outside"), at("target/link")))
	must(t, os.Symlink(at("outside"), at("target/extra/link")))
	must(t, os.Symlink("file", at("target/kept/link")))
	mounted := os.Geteuid() == 0
	if mounted {
		must(t, os.MkdirAll(at("target/disk/mounted"), 0o755))
		must(t, unix.Mount("tmpfs", at("target/disk/mounted"), "tmpfs", 0, "size=1m"))
		defer unix.Unmount(at("target/disk/mounted"), unix.MNT_DETACH)
		write(t, top, "target/disk/mounted/file")
	}
	before := listing(t, at("outside"))
	entries := func(yield func(*source.Entry, error) bool) {
		for _, e := range []*source.Entry{entry(source.Dir, ".", 0o755), entry(source.Dir, "file", 0o755), entry(source.Dir, "kept", 0o755), entry(source.File, "kept/absent", 0o644),
			entry(source.File, "kept/file", 0o644), entry(source.Symlink, "kept/link", 0o777)} {
			if !yield(e, nil) {
				return
			}
		}
	}
	target := newTarget(t, at("target"), TargetOptions{Existing: true})
	want := []string{"a/gone", "extra", "extra/deep", "extra/deep/er", "extra/deep/er/file", "extra/link", "file.d", "kept/extra", "link"}
	for _, dry := range []bool{true, false} {
		var found, left []string
		err := target.Sweep(t.Context(), iter.Seq2[*source.Entry, error](entries), Sweep{Dry: dry, Selected: func(path string, _ bool) bool { return path != "a/spared" },
			Found: func(path string, _ bool) { found = append(found, path) }, Left: func(path string, _ error) { left = append(left, path) }})
		slices.Sort(found)
		if err != nil || !slices.Equal(found, want) || mounted != slices.Equal(left, []string{"disk/mounted"}) {
			t.Errorf("dry %v: found %q, left %q: %v", dry, found, left, err)
		}
		for name, there := range map[string]bool{"extra": dry, "kept/extra": dry, "link": dry, "kept/file": true, "kept/link": true, "a/spared": true} {
			if _, err := os.Lstat(at("target/" + name)); errors.Is(err, fs.ErrNotExist) == there {
				t.Errorf("dry %v: %s: %v", dry, name, err)
			}
		}
	}
	if mounted {
		if _, err := os.Lstat(at("target/disk/mounted/file")); err != nil {
			t.Error(err)
		}
	}
	if after := listing(t, at("outside")); !slices.Equal(before, after) {
		t.Errorf("outside changed:\nbefore %q\nafter  %q", before, after)
	}
	failing := errors.New("listing")
	err := target.Sweep(t.Context(), func(yield func(*source.Entry, error) bool) { yield(nil, failing) }, Sweep{Found: func(path string, _ bool) { t.Error(path) }})
	if !errors.Is(err, failing) {
		t.Errorf("a listing that can't be read: %v", err)
	}
}
