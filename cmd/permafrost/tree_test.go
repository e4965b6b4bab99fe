package main

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/internal/sandbox/compare"
)

// Whatever a file system holds comes back as it was.
func (w *witness) testTree(t *testing.T) {
	odd := filepath.Join(w.root, "odd")
	dir := t.TempDir() // an empty directory that is there will do
	restored := filepath.Join(dir, "public-system")
	t.Cleanup(func() {
		os.Chmod(filepath.Join(restored, "odd", "closed"), 0o700) // lest only root can remove what is in it
		os.Chmod(filepath.Join(odd, "closed"), 0o700)
		os.RemoveAll(odd)
	})
	makeOdd(t, odd)
	want, err := compare.Tree(w.root)
	if err != nil {
		t.Fatal(err)
	}
	w.run(exitDated, "snapshot", "--date", "2026-07-01")
	w.run(exitDone, "restore", "-i", w.recovery, "--date", "2026-07-01", "--component", "media", "--trust-media", "--target", dir)
	got, err := compare.Tree(restored)
	if err == nil {
		err = want.Diff(got)
	}
	if err != nil {
		t.Error(err)
	}
	for name, most := range map[string]int64{"sparse": 1 << 20, "hole": 0} {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(restored, "odd", name), &st); err != nil || st.Blocks*512 > most {
			t.Errorf("%s occupies %d bytes of %d: %v", name, st.Blocks*512, st.Size, err)
		}
	}
	r := w.run(exitDone, "restore", "-i", w.recovery, "--date", "2026-07-01", "--component", "media", "--target", filepath.Join(t.TempDir(), "untrusted"))
	for _, want := range []string{"setuid and setgid bits left out: the media are not trusted\n", "hint: `--trust-media` restores them"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("without --trust-media it says\n%s", r.stderr)
		}
	}
	w.run(exitDone, "check", "-i", w.recovery, "--read-data")
}

// makeOdd makes a tree of what is rare among media.
func makeOdd(t *testing.T, root string) {
	t.Helper()
	at := func(name string) string { return filepath.Join(root, name) }
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"", "empty-dir", "closed", "a", "a/b", "new\nline\n", "bad\xff\xfe", "sticky"} {
		must(os.Mkdir(at(name), 0o755))
	}
	for _, name := range []string{"a/x", "a.b", "a-b", "new\nline\n/\n", "bad\xff\xfe/\xc3\x28", " ", "-rf", "\\", "\x1b[2J", "*",
		strings.Repeat("n", 255), "setuid", "setgid", "closed/file", "attributes", "of-others", "first"} {
		must(os.WriteFile(at(name), []byte(name), 0o644))
	}
	must(os.WriteFile(at("empty"), nil, 0o644), makeLarge(at("large")), makeSparse(at("sparse"), 64<<20, "island"), makeSparse(at("hole"), 9<<20, ""),
		os.Link(at("first"), at("a/second")), os.Link(at("first"), at("zz")),
		os.Symlink("a/x", at("link")), os.Symlink("../../no/such", at("dangling")), os.Symlink("/etc/passwd", at("absolute")),
		os.Symlink("\xff\n", at("bad-target")), os.Symlink("a", at("to-dir")),
		unix.Setxattr(at("attributes"), "user.note", []byte{0, 1, 0xff}, 0), unix.Setxattr(at("a"), "user.dir", []byte("d"), 0))
	if os.Geteuid() == 0 {
		// The media are read with the rights of the user whose they are.
		uid, gid := owner(t, filepath.Dir(root))
		must(filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error { return errors.Join(err, os.Lchown(path, uid, gid)) }),
			os.Chown(at("of-others"), 4242, 4243), os.Lchown(at("dangling"), 4244, 4245), os.Chown(at("setuid"), 4246, 4247), os.Chown(at("sticky"), 4248, 4249))
	}
	for name, mode := range map[string]uint32{"setuid": 0o4755, "setgid": 0o2711, "sticky": 0o1777, "closed/file": 0o400, "closed": 0o500, "a/b": 0o2775} {
		must(unix.Chmod(at(name), mode))
	}
	for name, when := range map[string]time.Time{"empty": time.Unix(-1, 1), "empty-dir": time.Unix(1, 999999999), "a": time.Unix(2e9, 5), "large": time.Unix(1234567890, 123456789)} {
		must(os.Chtimes(at(name), when, when))
	}
}

// makeLarge makes a file of 200 MB that can't be compressed.
func makeLarge(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	random := rand.NewChaCha8([32]byte{1})
	block := make([]byte, 1<<20)
	for range 200 {
		random.Read(block)
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	return f.Close()
}

// makeSparse makes a file that is a hole, but for a text in its middle.
func makeSparse(path string, size int64, text string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(text), size/2)
	return errors.Join(err, f.Truncate(size), f.Close())
}
