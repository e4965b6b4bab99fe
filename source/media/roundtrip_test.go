package media

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/source"
)

// What is trusted is restored as it was walked: every type, name and attribute.
func TestRoundTrip(t *testing.T) {
	asNobody(t)
	withoutOpenat2(t, func(t *testing.T) {
		root := filepath.Join(t.TempDir(), "public", "system")
		makeEverything(t, root)
		tree := openTree(t, root, Options{})
		entries := walk(t, tree)

		var warned warnings
		dir := filepath.Join(t.TempDir(), "not", "there", "yet")
		target := newTarget(t, dir, TargetOptions{Trusted: true, Warn: warned.warn})
		restore(t, tree, entries, target)
		if len(warned) > 0 {
			t.Errorf("warnings: %q", warned)
		}

		got := openTree(t, dir, Options{})
		restored := walk(t, got)
		if len(restored) != len(entries) {
			t.Fatalf("%d entries restored of %d:\n%q\n%q", len(restored), len(entries), paths(restored), paths(entries))
		}
		for i, want := range entries {
			same(t, restored[i], want)
			if want.Type == source.File && want.Size < 1<<20 {
				if !bytes.Equal(content(t, got, restored[i]), content(t, tree, want)) {
					t.Errorf("%q: the content differs", want.Path)
				}
			}
		}
		if a, b := find(t, restored, "links/a"), find(t, restored, "links/b"); a.Inode != b.Inode {
			t.Error("hard links became two files")
		}
		sparse := find(t, restored, "sparse")
		if sparse.Size != 200<<20 || sparse.Alloc > 1<<20 {
			t.Errorf("a sparse file: %d bytes, of which %d occupied", sparse.Size, sparse.Alloc)
		}
		checkSparse(t, got, sparse)
	})
}

// same compares all that a restore can give back.
func same(t *testing.T, got, want *source.Entry) {
	t.Helper()
	a, b := *got, *want
	for _, e := range []*source.Entry{&a, &b} {
		e.CTime, e.Dev, e.Inode, e.Alloc = 0, 0, 0, 0
	}
	if g, w := fmt.Sprintf("%#v", a), fmt.Sprintf("%#v", b); g != w {
		t.Errorf("restored\n%.2000s\nfor\n%.2000s", g, w)
	}
}

// makeEverything makes a tree of whatever a file system holds.
func makeEverything(t *testing.T, root string) {
	t.Helper()
	write(t, root, "empty-dir/", "file", "a/x", "a.b", "a-b", "a/y/z", "new\nline", "bad\xff\xfeutf8", strings.Repeat("n", 255), " ", "...", "\\", "*",
		"setuid", "setgid", "dir1777/", "dir2775/", "private/file", "old", "ns", "links/a", "xattrs", "acl", "xdir/", "notmine")
	at := func(name string) string { return filepath.Join(root, name) }
	must(t, os.WriteFile(at("empty"), nil, 0o600))
	must(t, os.Link(at("links/a"), at("links/b")))
	must(t, os.Link(at("links/a"), at("zz-links")))
	for name, target := range map[string]string{
		"dangling": "no/such", "loop1": "loop2", "loop2": "loop1", "self": "self", "up": "../../..", "abs": "/etc/passwd",
		"bad-target": "\xff\n", "long-target": strings.Repeat("t", 4000), "to-dir": "a",
	} {
		must(t, os.Symlink(target, at(name)))
	}
	must(t, unix.Mkfifo(at("fifo"), 0o640))
	must(t, unix.Mknod(at("socket"), unix.S_IFSOCK|0o660, 0))
	makeSparse(t, at("sparse"))
	makeDeep(t, root)
	must(t, unix.Setxattr(at("xattrs"), "user.b", []byte("two\x00\xff"), 0))
	must(t, unix.Setxattr(at("xattrs"), "user.a", bytes.Repeat([]byte{7}, 600), 0))
	must(t, unix.Setxattr(at("xattrs"), "user.empty", nil, 0))
	must(t, unix.Setxattr(at("xdir"), "user.dir", []byte("d"), 0))
	must(t, unix.Setxattr(at("acl"), aclAccess, acl(6, 1234), 0))
	must(t, unix.Setxattr(at("xdir"), aclDefault, acl(7, 4321), 0))
	if os.Geteuid() == 0 {
		makeRoots(t, at)
	}
	for name, mode := range map[string]uint32{"setuid": 0o4755, "setgid": 0o2711, "dir1777": 0o1777, "dir2775": 0o2775, "private/file": 0o600, "private": 0o700, "empty-dir": 0o500} {
		must(t, unix.Chmod(at(name), mode))
	}
	setTime(t, at("old"), time.Date(1931, 2, 3, 4, 5, 6, 987654321, time.UTC))
	setTime(t, at("ns"), time.Date(2026, 6, 27, 1, 2, 3, 123456789, time.UTC))
	setTime(t, at("dangling"), time.Date(1999, 1, 1, 0, 0, 0, 1, time.UTC))
	setTime(t, at("fifo"), time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC))
	setTime(t, at("a"), time.Date(2002, 1, 1, 0, 0, 0, 5, time.UTC))
	setTime(t, root, time.Date(2003, 1, 1, 0, 0, 0, 7, time.UTC))
}

// makeRoots adds what root alone can make.
func makeRoots(t *testing.T, at func(string) string) {
	t.Helper()
	must(t, unix.Mknod(at("char"), unix.S_IFCHR|0o644, int(unix.Mkdev(259, 70000))))
	must(t, unix.Mknod(at("block"), unix.S_IFBLK|0o600, int(unix.Mkdev(7, 1))))
	for i, name := range []string{"notmine", "dangling", "fifo", "socket", "char", "xdir", "setuid", "setgid", "links/a"} {
		must(t, os.Lchown(at(name), 2000+i, 3000+i))
	}
	must(t, unix.Setxattr(at("xattrs"), "trusted.t", []byte("t"), 0))
	must(t, unix.Lsetxattr(at("dangling"), "trusted.link", []byte("l"), 0))
	must(t, unix.Lsetxattr(at("fifo"), "trusted.fifo", []byte("l"), 0))
	// cap_net_raw+ep, in the kernel's own form: a change of owner after it would remove it.
	must(t, unix.Setxattr(at("notmine"), "security.capability", []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0))
	write(t, at("."), "mode0000", "dir0000/below")
	must(t, os.Chmod(at("mode0000"), 0))
	must(t, os.Chmod(at("dir0000"), 0))
}

// acl is a POSIX ACL that gives a user rights, in the kernel's form.
func acl(perm uint16, uid uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range [][2]uint16{{0x01, 6}, {0x02, perm}, {0x04, 4}, {0x10, 7}, {0x20, 4}} {
		id := uint32(0xffffffff)
		if e[0] == 0x02 {
			id = uid
		}
		b = binary.LittleEndian.AppendUint16(b, e[0])
		b = binary.LittleEndian.AppendUint16(b, e[1])
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	return b
}

func setTime(t *testing.T, path string, at time.Time) {
	t.Helper()
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(at.UnixNano())}
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, unix.AT_SYMLINK_NOFOLLOW))
}

func makeSparse(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for _, at := range []int64{1 << 20, 150 << 20} {
		_, err = f.WriteAt([]byte("data"), at)
		must(t, err)
	}
	must(t, f.Truncate(200<<20))
}

func checkSparse(t *testing.T, tree *Tree, e *source.Entry) {
	t.Helper()
	f, err := tree.Open(e.Path)
	must(t, err)
	defer f.Close()
	var b [12]byte
	for _, at := range []int64{1 << 20, 150 << 20} {
		_, err := f.ReadAt(b[:], at-4)
		must(t, err)
		if string(b[:]) != "\x00\x00\x00\x00data\x00\x00\x00\x00" {
			t.Errorf("at %d: %q", at, b)
		}
	}
}

// makeDeep makes paths longer than PATH_MAX: one of long names, one of many.
func makeDeep(t *testing.T, root string) {
	t.Helper()
	deep := [][]string{manyNames("long", 30, 200)}
	if hasOpenat2() { // without it, depth costs its square
		deep = append(deep, manyNames("many", 830, 4))
	}
	for _, names := range deep {
		fd := mkdirDeep(t, root, names...)
		file, err := unix.Openat(fd, "bottom", unix.O_CREAT|unix.O_WRONLY, 0o644)
		must(t, err)
		_, err = unix.Write(file, []byte("deep"))
		must(t, err)
		unix.Close(file)
		must(t, unix.Symlinkat("bottom", fd, "link"))
		unix.Close(fd)
	}
}

func manyNames(first string, n, size int) []string {
	names := []string{first}
	for i := range n {
		names = append(names, strings.Repeat(string(rune('a'+i%26)), size))
	}
	return names
}
