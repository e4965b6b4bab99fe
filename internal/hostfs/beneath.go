package hostfs

import (
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// MaxPath bounds a path below a directory, in bytes, as listings do.
const MaxPath = 16 << 10

// ValidPath reports whether p names something below the root, and nothing else: no empty component, no "." or "..",
// no NUL.
func ValidPath(p string) bool {
	if len(p) > MaxPath || strings.IndexByte(p, 0) >= 0 {
		return false
	}
	for name := range strings.SplitSeq(p, "/") {
		if name == "" || name == "." || name == ".." {
			return false
		}
	}
	return true
}

// hasOpenat2 reports whether openat2 can be used: Linux before 5.6 lacks it, some sandboxes forbid it.
var hasOpenat2 = sync.OnceValue(func() bool {
	fd, err := openat2(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err == nil
})

// OpenBeneath opens a valid path, or ".", below the directory root. No component of it may be a symbolic link: that
// is ELOOP, or ENOTDIR where openat2 is missing. The descriptor is close-on-exec.
func OpenBeneath(root int, path string, flags int, mode uint32) (int, error) {
	open := openat2
	if !hasOpenat2() {
		open = openByComponent
	}
	dir := root
	for len(path) >= unix.PathMax {
		cut := strings.LastIndexByte(path[:unix.PathMax], '/')
		if cut <= 0 {
			closeUnless(dir, root)
			return -1, unix.ENAMETOOLONG
		}
		fd, err := open(dir, path[:cut], unix.O_PATH|unix.O_DIRECTORY, 0)
		closeUnless(dir, root)
		if err != nil {
			return -1, err
		}
		dir, path = fd, path[cut+1:]
	}
	fd, err := open(dir, path, flags, mode)
	closeUnless(dir, root)
	return fd, err
}

func openat2(dir int, path string, flags int, mode uint32) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Mode:    uint64(mode),
		Resolve: unix.RESOLVE_NO_SYMLINKS,
	}
	return Retry(func() (int, error) { return unix.Openat2(dir, path, &how) })
}

// openByComponent is openat2 for kernels that have none.
func openByComponent(dir int, path string, flags int, mode uint32) (int, error) {
	at := dir
	for {
		name, rest, more := strings.Cut(path, "/")
		f, m := flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode
		if more {
			f, m = unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0
		}
		fd, err := Retry(func() (int, error) { return unix.Openat(at, name, f, m) })
		closeUnless(at, dir)
		if err != nil || !more {
			return fd, err
		}
		at, path = fd, rest
	}
}

func closeUnless(fd, kept int) {
	if fd != kept {
		unix.Close(fd)
	}
}

// Retry calls f until no signal interrupts it: FUSE and NFS do report that.
func Retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// ProcPath is a path to what an open descriptor stands for, be it one of O_PATH.
func ProcPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
