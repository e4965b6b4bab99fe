package media

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// entry is a file of this process' own user.
func entry(typ source.Type, path string, mode uint32) *source.Entry {
	return &source.Entry{Path: path, Type: typ, Mode: mode, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Nlink: 1}
}

// put restores a file with its path as content.
func put(target *Target, e *source.Entry) error {
	f, err := target.Create(e)
	if err != nil {
		return err
	}
	e.Size = int64(len(e.Path))
	if _, err := f.WriteString(e.Path); err != nil {
		return err
	}
	return target.Finish(f, e)
}

// Directories that something needs are made with it, by several at once, and are nobody else's until SetDir.
func TestTargetMakesDirs(t *testing.T) {
	withoutOpenat2(t, func(t *testing.T) {
		dir := t.TempDir()
		target := newTarget(t, dir, TargetOptions{})
		var g errgroup.Group
		for i := range 64 {
			g.Go(func() error { return put(target, entry(source.File, fmt.Sprintf("a/b/c/%d/d/%d", i%4, i), 0o644)) })
		}
		must(t, g.Wait())
		must(t, link(target, entry(source.File, "x/y/link", 0o644), "a/b/c/0/d/0"))
		must(t, target.Dir(entry(source.Dir, "x/empty/one", 0o755)))
		if err := link(target, entry(source.File, "link", 0o644), "nowhere/at/all"); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "nowhere")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a link's target made directories: %v", err)
		}
		must(t, target.SetDir(entry(source.Dir, "a", 0o750)))
		for name, mode := range map[string]fs.FileMode{"a": 0o750, "a/b/c/3/d": 0o700, "x/empty": 0o700} {
			info, err := os.Stat(filepath.Join(dir, name))
			must(t, err)
			if info.Mode().Perm() != mode {
				t.Errorf("%s has mode %o", name, info.Mode().Perm())
			}
		}
	})
}

// Nothing that a listing says gets out of the target, or through a link that the listing made itself.
func TestTargetHostile(t *testing.T) {
	asNobody(t)
	withoutOpenat2(t, func(t *testing.T) {
		top := t.TempDir()
		write(t, top, "outside/victim", "target/dir/", "target/there")
		at := func(name string) string { return filepath.Join(top, name) }
		target := newTarget(t, at("target"), TargetOptions{Trusted: true})
		for name, to := range map[string]string{"out": at("outside"), "up": "../outside", "in": "dir", "file": at("outside/victim")} {
			e := entry(source.Symlink, name, 0o777)
			e.Target = to
			must(t, target.Symlink(e))
		}
		must(t, put(target, entry(source.File, "first", 0o644)))
		before := listing(t, top)
		for _, path := range []string{
			"..", "../outside/new", "dir/../../outside/new", at("outside/new"), "/", "", "a//b", "dir/", "/dir/new", "dir/./new", ".",
			"nul\x00", "dir\x00/new", strings.Repeat("a", 256), strings.Repeat("dir/", hostfs.MaxPath/4) + "a",
			"out/new", "up/new", "in/new", "out/a/b/new", "in/a/b/new", "there/a/new", "out/victim", "file", "out", "there", "dir", "there/new", "first",
		} {
			for name, f := range map[string]func() error{
				"Create": func() error { return put(target, entry(source.File, path, 0o644)) },
				"Dir":    func() error { return target.Dir(entry(source.Dir, path, 0o755)) },
				"Symlink": func() error {
					e := entry(source.Symlink, path, 0o777)
					e.Target = "x"
					return target.Symlink(e)
				},
				"Special":  func() error { return target.Special(entry(source.FIFO, path, 0o644)) },
				"Link":     func() error { return link(target, entry(source.File, path, 0o644), "first") },
				"LinkFrom": func() error { return link(target, entry(source.File, "hard", 0o644), path) },
				"SetDir":   func() error { return target.SetDir(entry(source.Dir, path, 0o777)) },
			} {
				if path == "." && (name == "Dir" || name == "SetDir") || path == "dir" && name == "SetDir" ||
					name == "LinkFrom" && (path == "first" || path == "there") {
					continue // these are right
				}
				if err := f(); err == nil {
					t.Errorf("%s(%.80q) succeeded", name, path)
				}
			}
		}
		for _, to := range []string{"", "a\x00b", strings.Repeat("a", unix.PathMax)} {
			e := entry(source.Symlink, "bad", 0o777)
			e.Target = to
			if err := target.Symlink(e); err == nil {
				t.Errorf("a symbolic link to %.20q", to)
			}
		}
		if err := target.Special(entry(source.File, "special", 0o644)); err == nil {
			t.Error("a special file of type file")
		}
		if after := listing(t, top); !slices.Equal(before, after) {
			t.Errorf("changed:\nbefore %q\nafter  %q", before, after)
		}
	})
}

// listing says what is below a directory.
func listing(t *testing.T, dir string) []string {
	t.Helper()
	tree := openTree(t, dir, Options{})
	var all []string
	for _, e := range walk(t, tree) {
		text := fmt.Sprintf("%s %c %o %d %q", e.Path, e.Type, e.Mode, e.Size, e.Target)
		if e.Type == source.File {
			text += " " + string(content(t, tree, e))
		}
		all = append(all, text)
	}
	return all
}

// Until it is finished, nobody else can read what is restored, whatever the umask.
func TestTargetPrivate(t *testing.T) {
	dir := t.TempDir()
	defer unix.Umask(unix.Umask(0))
	target := newTarget(t, filepath.Join(dir, "target"), TargetOptions{})
	must(t, target.Dir(entry(source.Dir, "d", 0o777)))
	e := entry(source.File, "d/f", 0o666)
	f, err := target.Create(e)
	must(t, err)
	mode := func(name string, want fs.FileMode) {
		t.Helper()
		info, err := os.Lstat(filepath.Join(dir, name))
		must(t, err)
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s: mode %o, want %o", name, got, want)
		}
	}
	mode("target", 0o700)
	mode("target/d", 0o700)
	mode("target/d/"+partName("f"), 0o600)
	unix.Umask(0o077)
	must(t, target.Finish(f, e))
	must(t, target.SetDir(entry(source.Dir, "d", 0o777)))
	mode("target/d", 0o777)
	mode("target/d/f", 0o666)
}

// Who is not root restores all but what only root may, with one warning for each kind.
func TestTargetNotRoot(t *testing.T) {
	if asNobody(t) {
		return
	}
	var warned warnings
	dir := t.TempDir()
	target := newTarget(t, dir, TargetOptions{Trusted: true, Warn: warned.warn})
	root := entry(source.Dir, ".", 0o755)
	closed, inner := entry(source.Dir, "closed", 0), entry(source.Dir, "closed/inner", 0o600)
	for _, e := range []*source.Entry{root, closed, inner} {
		must(t, target.Dir(e))
	}
	for i := range 3 {
		e := entry(source.File, fmt.Sprintf("closed/inner/%d", i), 0o6755)
		e.UID, e.GID = 1, 1
		e.Xattrs = []source.Xattr{{Name: "trusted.x", Value: []byte("x")}, {Name: "user.x", Value: []byte("x")}, {Name: "system.odd", Value: nil}}
		must(t, put(target, e))
	}
	mine := entry(source.File, "mine", 0o4711)
	must(t, put(target, mine))
	null := entry(source.Char, "null", 0o666)
	null.Rdev = unix.Mkdev(1, 3)
	must(t, target.Special(null))
	for _, e := range []*source.Entry{root, closed, inner} { // a directory before those in it
		must(t, target.SetDir(e))
	}
	must(t, target.Sync())
	want := warnings{
		"closed/inner/0: 3 files: owner and group not restored: operation not permitted",
		`closed/inner/0: 3 files: extended attribute "trusted.x" not restored: operation not permitted`,
		`closed/inner/0: 3 files: extended attribute unknown and not restored: "system.odd"`,
		"null: 1 file: devices not restored: operation not permitted",
	}
	if !slices.Equal(warned, want) {
		t.Errorf("got  %q\nwant %q", warned, want)
	}
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(dir, "closed"), &st))
	if st.Mode&07777 != 0 {
		t.Errorf("closed: mode %o", st.Mode&07777)
	}
	must(t, os.Chmod(filepath.Join(dir, "closed"), 0o700))
	must(t, unix.Stat(filepath.Join(dir, "closed/inner"), &st))
	if st.Mode&07777 != 0o600 {
		t.Errorf("closed/inner: mode %o", st.Mode&07777)
	}
	must(t, os.Chmod(filepath.Join(dir, "closed/inner"), 0o700))
	got := walk(t, openTree(t, dir, Options{}))
	if e := find(t, got, "closed/inner/2"); e.Mode != 0o755 || len(e.Xattrs) != 1 || e.UID != uint32(os.Geteuid()) {
		t.Errorf("another's file: %+v", e)
	}
	if e := find(t, got, "mine"); e.Mode != 0o4711 {
		t.Errorf("one's own setuid: mode %o", e.Mode)
	}
}

// Owners go by name where the name is known here, in ACLs too.
func TestTargetOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can give files away: the mapping alone is tested")
	}
	for name, c := range map[string]struct {
		o        TargetOptions
		uid, gid uint32
	}{
		"names":         {TargetOptions{Users: map[uint32]string{4242: "nobody"}, Groups: map[uint32]string{4343: "nogroup"}}, nobody, nobody},
		"numbers":       {TargetOptions{Users: map[uint32]string{4242: "nobody"}, Groups: map[uint32]string{4343: "nogroup"}, NumericIDs: true}, 4242, 4343},
		"unknown names": {TargetOptions{Users: map[uint32]string{4242: "no such user"}, Groups: map[uint32]string{1: "nogroup"}}, 4242, 4343},
	} {
		dir := t.TempDir()
		target := newTarget(t, dir, c.o)
		e := entry(source.File, "f", 0o674)
		e.UID, e.GID = 4242, 4343
		e.Xattrs = []source.Xattr{{Name: aclAccess, Value: acl(6, 4242)}}
		if uid, gid := target.attrs.owners.of(e); uint32(uid) != c.uid || uint32(gid) != c.gid {
			t.Errorf("%s: owner %d:%d", name, uid, gid)
		}
		must(t, put(target, e))
		got := find(t, walk(t, openTree(t, dir, Options{})), "f")
		if os.Geteuid() == 0 && (got.UID != c.uid || got.GID != c.gid) {
			t.Errorf("%s: restored as %d:%d", name, got.UID, got.GID)
		}
		if len(got.Xattrs) != 1 || !bytes.Equal(got.Xattrs[0].Value, acl(6, c.uid)) {
			t.Errorf("%s: ACL %v", name, got.Xattrs)
		}
	}
}

func TestACLForeign(t *testing.T) {
	o := owners{users: map[uint32]uint32{1: 2}, groups: map[uint32]uint32{1: 3}}
	for _, b := range [][]byte{nil, {2}, {2, 0, 0, 0}, {3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0}, {2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0}} {
		if got := o.acl(b); !bytes.Equal(got, b) {
			t.Errorf("%v became %v", b, got)
		}
	}
	group := []byte{2, 0, 0, 0, 8, 0, 7, 0, 1, 0, 0, 0}
	if got := o.acl(group); got[8] != 3 || group[8] != 1 {
		t.Errorf("%v became %v", group, got)
	}
}

// A default ACL of the target does not leave its marks on what is restored.
func TestTargetDefaultACL(t *testing.T) {
	dir := t.TempDir()
	must(t, unix.Setxattr(dir, aclDefault, acl(7, 1234), 0))
	target := newTarget(t, dir, TargetOptions{})
	d, kept := entry(source.Dir, "d", 0o755), entry(source.Dir, "kept", 0o755)
	kept.Xattrs = []source.Xattr{{Name: aclDefault, Value: acl(5, 77)}}
	must(t, target.Dir(d))
	must(t, target.Dir(kept))
	must(t, put(target, entry(source.File, "d/f", 0o664)))
	must(t, target.Special(entry(source.FIFO, "d/fifo", 0o664)))
	must(t, target.SetDir(d))
	must(t, target.SetDir(kept))
	for _, e := range walk(t, openTree(t, dir, Options{}))[1:] {
		want := 0
		if e.Path == "kept" {
			want = 1
		}
		if len(e.Xattrs) != want {
			t.Errorf("%s: attributes %+v", e.Path, e.Xattrs)
		}
	}
}

// What the file system does not take is a warning that counts; the file is restored.
func TestTargetXattrRefused(t *testing.T) {
	asNobody(t)
	var warned warnings
	dir := t.TempDir()
	target := newTarget(t, dir, TargetOptions{Warn: warned.warn})
	for i := range 150 {
		e := entry(source.File, fmt.Sprintf("f%03d", i), 0o644)
		e.Xattrs = []source.Xattr{{Name: "user." + strings.Repeat("n", 256), Value: nil}, {Name: fmt.Sprintf("user.%d%s", i, strings.Repeat("n", 256)), Value: nil}}
		must(t, put(target, e))
		e = entry(source.FIFO, fmt.Sprintf("p%03d", i), 0o644)
		e.Xattrs = []source.Xattr{{Name: "user.on-a-fifo", Value: []byte("x")}} // not allowed there
		must(t, target.Special(e))
	}
	target.attrs.lost.tell()
	if n := len(warned); n > maxKinds+1 || n < 3 || !strings.Contains(warned[0], "f000: 150 files: extended attribute") {
		t.Errorf("%d warnings: %.300q", n, warned)
	}
	if n := len(walk(t, openTree(t, dir, Options{}))); n != 301 {
		t.Errorf("%d entries", n)
	}
	told := len(warned)
	must(t, target.Close())
	if len(warned) != told {
		t.Error("the warnings came twice")
	}
}

func TestTargetDiscard(t *testing.T) {
	dir := t.TempDir()
	target := newTarget(t, dir, TargetOptions{})
	e := entry(source.File, "f", 0o644)
	f, err := target.Create(e)
	must(t, err)
	must(t, target.Discard(f))
	if _, err := os.Lstat(filepath.Join(dir, "f")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
	if _, err := f.WriteString("x"); err == nil {
		t.Error("still open")
	}
}

// Finish closes the file and names it, whatever goes wrong.
func TestTargetFinishFails(t *testing.T) {
	target := newTarget(t, t.TempDir(), TargetOptions{})
	e := entry(source.File, "f", 0o644)
	f, err := target.Create(e)
	must(t, err)
	e.Size = -1
	if err := target.Finish(f, e); err == nil || !strings.Contains(err.Error(), "finish f: ") {
		t.Errorf("a negative size: %v", err)
	}
	if _, err := f.WriteString("x"); err == nil {
		t.Error("still open")
	}
}

func TestTargetConcurrent(t *testing.T) {
	dir := t.TempDir()
	target := newTarget(t, dir, TargetOptions{})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			d := entry(source.Dir, fmt.Sprint(g), 0o755)
			err := target.Dir(d)
			for i := range 50 {
				err = errors.Join(err, put(target, entry(source.File, fmt.Sprintf("%d/%d", g, i), 0o644)))
			}
			if err = errors.Join(err, target.SetDir(d)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(walk(t, openTree(t, dir, Options{}))); n != 1+8*51 {
		t.Errorf("%d entries", n)
	}
}

// Xattrs are bounded, read with a buffer that grows, and not asked for again on a device that has none.
func TestXattrReader(t *testing.T) {
	var x xattrReader
	calls := 0
	none := func([]byte) (int, error) { calls++; return 0, unix.EOPNOTSUPP }
	for range 3 {
		if all, err := x.read(7, none, nil); all != nil || err != nil {
			t.Errorf("%v, %v", all, err)
		}
	}
	if calls != 1 {
		t.Errorf("asked %d times", calls)
	}
	list := func(text string) func(b []byte) (int, error) {
		return func(b []byte) (int, error) {
			if len(b) < len(text) {
				return 0, unix.ERANGE
			}
			return copy(b, text), nil
		}
	}
	get := func(name string, b []byte) (int, error) {
		switch {
		case name == "user.gone":
			return 0, unix.ENODATA
		case name == "user.bad":
			return 0, unix.EIO
		case len(b) < 60<<10:
			return 0, unix.ERANGE
		}
		return 60 << 10, nil
	}
	all, err := x.read(8, list("user.z\x00user.gone\x00system.other\x00"+strings.Repeat("os2.x\x00", 200)+"user.a\x00"), get)
	if err != nil || len(all) != 2 || all[0].Name != "user.a" || all[1].Name != "user.z" || len(all[1].Value) != 60<<10 {
		t.Errorf("%d attributes, %v", len(all), err)
	}
	if _, err := x.read(8, list("user.1\x00user.2\x00user.3\x00user.4\x00user.5\x00"), get); err == nil {
		t.Error("300 KiB of attributes")
	}
	if _, err := x.read(8, list("user.bad\x00"), get); !errors.Is(err, unix.EIO) {
		t.Errorf("got %v", err)
	}
	if _, err := x.read(8, func([]byte) (int, error) { return 0, unix.ERANGE }, get); err == nil {
		t.Error("a list of more than 64 KiB")
	}
}

// BenchmarkRestore makes files in directories of their own, three in each.
func BenchmarkRestore(b *testing.B) {
	target := newTarget(b, filepath.Join(b.TempDir(), "target"), TargetOptions{})
	data := make([]byte, 4<<10)
	made := make(map[string]bool)
	b.ReportAllocs()
	files := 0
	for b.Loop() {
		path := mastodonPath(files / 3)
		var dirs []string
		for dir := filepath.Dir(path); dir != "." && !made[dir]; dir = filepath.Dir(dir) {
			made[dir] = true
			dirs = append(dirs, dir)
		}
		for _, dir := range slices.Backward(dirs) {
			must(b, target.Dir(entry(source.Dir, dir, 0o755)))
		}
		e := entry(source.File, fmt.Sprintf("%s%d", path, files), 0o644)
		e.Size = int64(len(data))
		f, err := target.Create(e)
		must(b, err)
		_, err = f.Write(data)
		must(b, err)
		must(b, target.Finish(f, e))
		for _, dir := range dirs {
			must(b, target.SetDir(entry(source.Dir, dir, 0o755)))
		}
		files++
	}
}
