package hostfs

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// other is a user without a name.
const other = 54321

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// needRoot fails a test that is about root's rights where there are none.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test is about what root may do: run it as root")
	}
}

// tempDir returns a directory below which everybody may go.
func tempDir(t testing.TB) string {
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	return dir
}

func TestDo(t *testing.T) {
	needRoot(t)
	dir := tempDir(t)
	must(t, os.WriteFile(filepath.Join(dir, "root's"), []byte("secret"), 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "his"), 0o700))
	must(t, os.Chown(filepath.Join(dir, "his"), other, other))
	u := &User{UID: other, GID: other, Groups: []uint32{other, 54322}}
	failure := errors.New("as it is")
	err := u.Do(func() error {
		if _, err := os.ReadFile(filepath.Join(dir, "root's")); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("reading root's file: %v", err)
		}
		if err := os.Chown(filepath.Join(dir, "his"), 0, 0); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("giving a directory away: %v", err)
		}
		must(t, os.WriteFile(filepath.Join(dir, "his", "file"), nil, 0o600))
		groups, err := unix.Getgroups()
		must(t, err)
		if slices.Sort(groups); !slices.Equal(groups, []int{other, 54322}) {
			t.Errorf("groups %v", groups)
		}
		return failure
	})
	if err != failure {
		t.Errorf("Do returned %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, "his", "file"))
	must(t, err)
	if st := info.Sys().(*syscall.Stat_t); st.Uid != other || st.Gid != other {
		t.Errorf("the file belongs to %d:%d", st.Uid, st.Gid)
	}
	if _, err := os.ReadFile(filepath.Join(dir, "root's")); err != nil {
		t.Errorf("root's rights did not come back: %v", err)
	}
}

func TestReadFile(t *testing.T) {
	needRoot(t)
	dir := tempDir(t)
	must(t, os.WriteFile(filepath.Join(dir, "root's"), []byte("secret"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "his"), []byte("content"), 0o600))
	must(t, os.Chown(filepath.Join(dir, "his"), other, other))
	must(t, os.Symlink("root's", filepath.Join(dir, "link to root's")))
	must(t, os.Symlink("his", filepath.Join(dir, "link to his")))
	must(t, os.Symlink("/dev/zero", filepath.Join(dir, "endless")))
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o666))
	u := &User{UID: other, GID: other, Groups: []uint32{other}}
	for _, c := range []struct {
		name  string
		limit int64
		err   error
	}{
		{"his", 7, nil},
		{"link to his", 100, nil},
		{"his", 6, ErrTooLarge},
		{"root's", 100, fs.ErrPermission},
		{"link to root's", 100, fs.ErrPermission},
		{"endless", 100, ErrNotRegular},
		{"fifo", 100, ErrNotRegular},
		{".", 100, ErrNotRegular},
		{"missing", 100, fs.ErrNotExist},
	} {
		data, info, err := u.ReadFile(filepath.Join(dir, c.name), c.limit)
		if !errors.Is(err, c.err) {
			t.Errorf("%s, at most %d bytes: %v", c.name, c.limit, err)
		}
		if c.err == nil && (string(data) != "content" || info.Size() != 7) {
			t.Errorf("%s: %q, %d bytes", c.name, data, info.Size())
		}
		if err != nil && strings.Count(err.Error(), dir) != 1 {
			t.Errorf("%s: the error does not name the file once: %v", c.name, err)
		}
	}
}

func TestWalk(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	for _, d := range []struct {
		path string
		uid  int
		mode fs.FileMode
	}{
		{"root", 0, 0o755}, {"root/below", 0, 0o700},
		{"his", other, 0o755}, {"his/root's", 0, 0o755}, {"his/group", other, 0o775}, {"his/all", other, 0o777},
		{"sticky", 0, 0o777 | fs.ModeSticky}, {"sticky/root's", 0, 0o755}, {"open", 0, 0o777}, {"open/root's", 0, 0o755},
	} {
		path := filepath.Join(dir, d.path)
		must(t, os.Mkdir(path, 0o700))
		must(t, os.Chown(path, d.uid, d.uid))
		must(t, os.Chmod(path, d.mode))
	}
	link := func(target, name string, uid int) {
		must(t, os.Symlink(target, filepath.Join(dir, name)))
		must(t, os.Lchown(filepath.Join(dir, name), uid, uid))
	}
	link("root/below", "link", 0)
	link("../root/below", "his/link", other)
	link(filepath.Join(dir, "his"), "link to his", 0)
	link("../root", "sticky/link", other)
	link("loop", "loop", 0)
	for _, c := range []struct {
		path, at, rest string
		root, only     bool
		err            error
	}{
		{path: "root/below", at: "root/below", root: true, only: true},
		{path: "link", at: "root/below", root: true, only: true},
		{path: "his", at: "his", only: true},
		{path: "his/root's", at: "his/root's", only: true},
		{path: "his/link", at: "root/below", only: true},
		{path: "link to his/group", at: "his/group", only: true},
		{path: "his/all", at: "his/all"},
		{path: "sticky", at: "sticky"},
		{path: "sticky/root's", at: "sticky/root's", root: true, only: true},
		{path: "sticky/link", at: "root", only: true},
		{path: "open/root's", at: "open/root's"},
		{path: "root/new/er", at: "root", rest: "new/er", root: true, only: true, err: fs.ErrNotExist},
		{path: "sticky/new", at: "sticky", rest: "new", root: true, only: true, err: fs.ErrNotExist},
		{path: "open/new", at: "open", rest: "new", err: fs.ErrNotExist},
		{path: "loop", err: unix.ELOOP},
	} {
		f, trust, rest, err := Walk(filepath.Join(dir, c.path))
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v", c.path, err)
		}
		if f == nil {
			continue
		}
		if at, _ := filepath.Rel(dir, f.Name()); at != c.at || rest != c.rest {
			t.Errorf("%s leads to %s and %q, not to %s and %q", c.path, at, rest, c.at, c.rest)
		}
		if trust.Root() != c.root || trust.Only(other) != c.only || trust.Only(other+1) != c.root {
			t.Errorf("%s: %+v", c.path, trust)
		}
		if c.root == (trust.Reason() != "") {
			t.Errorf("%s: reason %q", c.path, trust.Reason())
		}
		f.Close()
	}
}

func BenchmarkDo(b *testing.B) {
	needRoot(b)
	u := &User{UID: other, GID: other, Groups: []uint32{other}}
	for b.Loop() {
		u.Do(func() error { return nil })
	}
}

// A file that an administrator names is read with the rights of whoever decides where its path leads.
func TestReadNamed(t *testing.T) {
	needRoot(t)
	dir := tempDir(t)
	for name, uid := range map[string]int{"his": other, "third's": other + 1, "open": 0, "root": 0} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		must(t, os.Chown(filepath.Join(dir, name), uid, uid))
	}
	must(t, os.Chmod(filepath.Join(dir, "open"), 0o777))
	write := func(name string, uid int, mode fs.FileMode) {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("content"), mode))
		must(t, os.Chown(filepath.Join(dir, name), uid, uid))
	}
	write("root/private", 0, 0o600)
	write("root/his", other, 0o400)
	write("his/own", other, 0o600)
	write("his/root's", 0, 0o600)
	write("open/file", 0, 0o644)
	must(t, os.Symlink("his/own", filepath.Join(dir, "link")))
	must(t, os.Symlink("../root/private", filepath.Join(dir, "his", "link")))
	must(t, os.Symlink("../his/own", filepath.Join(dir, "third's", "link")))
	must(t, os.Lchown(filepath.Join(dir, "third's", "link"), other+1, other+1))
	must(t, unix.Mkfifo(filepath.Join(dir, "root", "fifo"), 0o600))
	for name, want := range map[string]error{
		"root/private": nil, "root/his": nil, "his/own": nil, "link": nil,
		"his/root's": fs.ErrPermission, "his/link": fs.ErrPermission, "root/fifo": ErrNotRegular, "his": ErrNotRegular,
		"none": fs.ErrNotExist, "root/private/x": unix.ENOTDIR,
	} {
		data, _, err := ReadFile(filepath.Join(dir, name), 100)
		if !errors.Is(err, want) || want == nil && string(data) != "content" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	for _, name := range []string{"open/file", "third's/link"} {
		if _, _, err := ReadFile(filepath.Join(dir, name), 100); !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p, err := Resolve(filepath.Join(dir, "his"))
	must(t, err)
	defer p.Close()
	if names, err := p.Names(3); err != nil || !slices.Equal(names, []string{"link", "own", "root's"}) {
		t.Errorf("%q, %v", names, err)
	}
	if _, err := p.Names(2); !errors.Is(err, ErrTooLarge) {
		t.Errorf("more names than are taken: %v", err)
	}
	if data, _, err := (*User)(nil).ReadFile(p.Below("own"), 10); err != nil || string(data) != "content" {
		t.Errorf("%q, %v", data, err)
	}
}

// closedWay makes a directory of root's that is closed to others and, in it, an open one with a file that everybody might read;
// and a directory of a user's with a link to each. It returns the user's directory, and the path of root's open one.
func closedWay(t *testing.T) (his, open string) {
	t.Helper()
	dir := tempDir(t)
	his, open = filepath.Join(dir, "his"), filepath.Join(dir, "closed", "open")
	must(t, os.MkdirAll(open, 0o700))
	must(t, os.Chmod(open, 0o755))
	must(t, os.WriteFile(filepath.Join(open, "file"), []byte("secret"), 0o644))
	must(t, os.Mkdir(his, 0o755))
	must(t, os.Symlink(open, filepath.Join(his, "dir")))
	must(t, os.Symlink(filepath.Join(open, "file"), filepath.Join(his, "file")))
	must(t, os.Symlink("/proc/self/cwd", filepath.Join(his, "cwd")))
	must(t, filepath.WalkDir(his, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, other, other))
	}))
	return his, open
}

// What is closed to a user stays closed where root gets there for him.
func TestClosedWay(t *testing.T) {
	needRoot(t)
	his, _ := closedWay(t)
	for _, name := range []string{"dir", "dir/file", "file"} {
		path := filepath.Join(his, name)
		p, err := Resolve(path)
		if err == nil {
			_, err = p.Names(10)
			if _, _, err2 := p.ReadFile(10); err2 == nil {
				err = nil
			}
			p.Close()
		}
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Links of the kernel's lead through this process's directories and descriptors, where its user's rights don't reach.
func TestLinksOfProc(t *testing.T) {
	needRoot(t)
	his, open := closedWay(t)
	t.Chdir(open)
	f, err := os.Open(".")
	must(t, err)
	defer f.Close()
	u := &User{UID: other, GID: other, Groups: []uint32{other}}
	for _, dir := range []string{"/proc/self/cwd", filepath.Join(his, "cwd"), "/proc/thread-self/cwd", ProcPath(int(f.Fd())), "/proc/self/root" + open, "."} {
		if _, _, err := u.ReadFile(dir+"/file", 10); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("reading %s/file: %v", dir, err)
		}
		if fd, err := u.OpenDir(dir); !errors.Is(err, fs.ErrPermission) {
			unix.Close(fd)
			t.Errorf("opening %s: %v", dir, err)
		}
	}
}

// A user's directory in one that is closed to that user is root's own choice.
func TestClosedWayOfRoot(t *testing.T) {
	needRoot(t)
	his := filepath.Join(tempDir(t), "closed", "his")
	must(t, os.MkdirAll(his, 0o700))
	must(t, os.Chown(his, other, other))
	p, err := Resolve(his)
	must(t, err)
	defer p.Close()
	fd, err := p.OpenDir()
	must(t, err)
	unix.Close(fd)
	d, err := MakeDir(his)
	must(t, err)
	defer d.Close()
	if d.User() == nil || d.User().UID != other {
		t.Errorf("worked in as %v", d.User())
	}
}

// A socket that a user names is one that this user can reach.
func TestDial(t *testing.T) {
	needRoot(t)
	his, open := closedWay(t)
	listen := func(path string) {
		t.Helper()
		l, err := net.Listen("unix", path)
		must(t, err)
		t.Cleanup(func() { l.Close() })
		must(t, os.Chmod(path, 0o777))
	}
	listen(filepath.Join(open, "s"))
	listen(filepath.Join(his, "s"))
	must(t, os.Symlink("s", filepath.Join(his, "link")))
	must(t, os.WriteFile(filepath.Join(his, "no socket"), nil, 0o666))
	must(t, os.Chmod(filepath.Join(his, "no socket"), 0o666))
	long := filepath.Join(his, strings.Repeat("d", 150))
	must(t, os.Mkdir(long, 0o755))
	must(t, os.Rename(filepath.Join(his, "s"), filepath.Join(long, "s"))) // a path too long for a socket's address
	must(t, os.Symlink(filepath.Join(long, "s"), filepath.Join(his, "s")))
	t.Chdir(open)
	u := &User{UID: other, GID: other, Groups: []uint32{other}}
	for _, dir := range []string{open, "/proc/self/cwd", filepath.Join(his, "cwd"), "/proc/thread-self/cwd", fmt.Sprintf("/proc/%d/cwd", os.Getpid()),
		"/proc/self/root" + open, fmt.Sprintf("/proc/%d/root%s", os.Getpid(), open), "."} {
		if c, err := u.Dial(t.Context(), "unix", dir+"/s"); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s/s: %v, %v", dir, c, err)
		}
	}
	for path, want := range map[string]error{"s": nil, "link": nil, "no socket": unix.ECONNREFUSED, "none": fs.ErrNotExist} {
		c, err := u.Dial(t.Context(), "unix", filepath.Join(his, path))
		if !errors.Is(err, want) {
			t.Errorf("%s: %v", path, err)
		}
		if err == nil {
			c.Close()
		}
	}
}
