package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// nobody is a user without any right.
const nobody = 65534

// asNobody runs the calling test once more, as a user who is not root; it returns false there. Where the tests run
// as such a user anyway, it returns false at once.
func asNobody(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return false
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("as a user who is not root: %v\n%s", err, out)
	}
	return true
}

// noOpenat2 marks a process of a test whose kernel denies openat2.
const noOpenat2 = "PERMAFROST_TEST_NO_OPENAT2"

// withoutOpenat2 runs a test with openat2, and in a process without.
func withoutOpenat2(t *testing.T, test func(t *testing.T)) {
	if os.Getenv(noOpenat2) != "" {
		must(t, denyOpenat2())
		t.Run("components", test)
		return
	}
	if !hasOpenat2() {
		t.Error("this kernel has no openat2: only half of the code is tested")
	}
	t.Run("openat2", test)
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), noOpenat2+"=1")
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name()+"/components")) {
		t.Errorf("without openat2: %v\n%s", err, out)
	}
}

func hasOpenat2() bool {
	fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC})
	if err == nil {
		unix.Close(fd)
	}
	return err == nil
}

// denyOpenat2 makes openat2 fail in this process for good, as kernels before 5.6 do: a seccomp filter of all its threads.
func denyOpenat2() error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_OPENAT2},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return errno
	}
	return nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write makes files, and the directories they need, below root; a path that ends in a slash is a directory. The
// content of a file is its path.
func write(t testing.TB, root string, paths ...string) {
	t.Helper()
	for _, p := range paths {
		must(t, os.MkdirAll(filepath.Join(root, filepath.Dir(p)), 0o755))
		if !strings.HasSuffix(p, "/") {
			must(t, os.WriteFile(filepath.Join(root, p), []byte(p), 0o644))
		} else {
			must(t, os.MkdirAll(filepath.Join(root, p), 0o755))
		}
	}
}

func openTree(t testing.TB, root string, o Options) *Tree {
	t.Helper()
	tree, err := Open(root, o)
	must(t, err)
	t.Cleanup(func() { must(t, tree.Close()) })
	return tree
}

// walk returns the entries of a tree that has no unreadable ones. Its links may lead out.
func walk(t testing.TB, tree *Tree) []*source.Entry {
	t.Helper()
	var all []*source.Entry
	for e, err := range tree.Walk(context.Background()) {
		if out := (*LeadsOutError)(nil); err != nil && !errors.As(err, &out) {
			t.Fatalf("%+v: %v", e, err)
		}
		all = append(all, e)
	}
	return all
}

func paths(entries []*source.Entry) []string {
	var all []string
	for _, e := range entries {
		all = append(all, e.Path)
	}
	return all
}

func find(t testing.TB, entries []*source.Entry, path string) *source.Entry {
	t.Helper()
	i := slices.IndexFunc(entries, func(e *source.Entry) bool { return e.Path == path })
	if i < 0 {
		t.Fatalf("no entry %q", path)
	}
	return entries[i]
}

// warnings collects what a target warns of.
type warnings []string

func (w *warnings) warn(path string, err error) { *w = append(*w, fmt.Sprintf("%s: %v", path, err)) }

func newTarget(t testing.TB, dir string, o TargetOptions) *Target {
	t.Helper()
	at, err := hostfs.MakeDir(dir)
	must(t, err)
	target := NewTarget(at, o)
	t.Cleanup(func() { target.Close() })
	return target
}

// restore copies a tree into a target, as a restore would.
func restore(t testing.TB, tree *Tree, entries []*source.Entry, target *Target) {
	t.Helper()
	type inode struct{ dev, ino uint64 }
	first := make(map[inode]string)
	for _, e := range entries {
		id := inode{e.Dev, e.Inode}
		switch {
		case e.Type == source.Dir:
			must(t, target.Dir(e))
		case e.Type == source.Symlink:
			must(t, target.Symlink(e))
		case e.Type != source.File:
			must(t, target.Special(e))
		case e.Nlink > 1 && first[id] != "":
			must(t, link(target, e, first[id]))
		default:
			first[id] = e.Path
			restoreFile(t, tree, e, target)
		}
	}
	for _, e := range entries {
		if e.Type == source.Dir {
			must(t, target.SetDir(e))
		}
	}
	must(t, target.Close())
}

func restoreFile(t testing.TB, tree *Tree, e *source.Entry, target *Target) {
	t.Helper()
	in, err := tree.Open(e.Path)
	must(t, err)
	defer in.Close()
	out, err := target.Create(e)
	must(t, err)
	segments, err := Segments(in.File, e.Size)
	must(t, err)
	for _, s := range segments {
		_, err := io.Copy(io.NewOffsetWriter(out, s.Off), io.NewSectionReader(in, s.Off, s.Len))
		must(t, err)
	}
	must(t, target.Finish(out, e))
}

// content reads a file of a tree.
func content(t testing.TB, tree *Tree, e *source.Entry) []byte {
	t.Helper()
	f, err := tree.Open(e.Path)
	must(t, err)
	defer f.Close()
	b, err := io.ReadAll(f)
	must(t, err)
	return b
}

// mkdirDeep makes directories below root one by one, however long the path gets, and returns the last one, open.
func mkdirDeep(t testing.TB, root string, names ...string) int {
	t.Helper()
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	for _, name := range names {
		must(t, unix.Mkdirat(fd, name, 0o755))
		next, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err)
		unix.Close(fd)
		fd = next
	}
	return fd
}

// link makes a further name of a file.
func link(target *Target, e *source.Entry, first string) error {
	_, err := target.Link(e, first)
	return err
}
