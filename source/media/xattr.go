package media

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// maxXattrs bounds the extended attributes of a file, names and values, as listings do.
const maxXattrs = 256 << 10

// The kernel's own bounds, in bytes: of a list of names, and of a value.
const maxXattr = 64 << 10

// kept reports whether an attribute belongs to a backup. The rest of system.* is the file system's own business.
func kept(name string) bool {
	for _, prefix := range []string{"user.", "security.", "trusted."} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return name == aclAccess || name == aclDefault
}

const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

// An xattrReader reads extended attributes, with buffers of its own.
type xattrReader struct {
	prefix string // of names in the directory entered
	names  []byte
	value  []byte
	none   map[uint64]bool // devices whose file systems have no extended attributes
}

// enter says in which open directory byName looks.
//
// Before listxattrat (Linux 6.13) no call takes a directory and a name; a path through /proc does that.
func (x *xattrReader) enter(dir int) { x.prefix = hostfs.ProcPath(dir) + "/" }

// byName returns the attributes of a name in the directory that was entered, on the device dev. A symbolic link is
// not followed.
func (x *xattrReader) byName(name string, dev uint64) ([]source.Xattr, error) {
	path := x.prefix + name
	return x.read(dev,
		func(b []byte) (int, error) { return unix.Llistxattr(path, b) },
		func(name string, b []byte) (int, error) { return unix.Lgetxattr(path, name, b) })
}

// open returns the attributes of an open file on the device dev.
func (x *xattrReader) open(fd int, dev uint64) ([]source.Xattr, error) {
	return x.read(dev,
		func(b []byte) (int, error) { return unix.Flistxattr(fd, b) },
		func(name string, b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) })
}

// read returns attributes sorted by name. Those that may not be read are left out.
func (x *xattrReader) read(dev uint64, list func([]byte) (int, error), get func(string, []byte) (int, error)) ([]source.Xattr, error) {
	if x.none[dev] {
		return nil, nil
	}
	names, err := fetch(&x.names, list)
	if err == unix.EOPNOTSUPP {
		if x.none == nil {
			x.none = make(map[uint64]bool)
		}
		x.none[dev] = true
		return nil, nil
	}
	if err != nil || len(names) == 0 {
		return nil, err
	}
	var all []source.Xattr
	total := 0
	for b := range bytes.SplitSeq(names[:len(names)-1], []byte{0}) {
		name := string(b)
		if !kept(name) {
			continue
		}
		value, err := fetch(&x.value, func(b []byte) (int, error) { return get(name, b) })
		switch err {
		case nil:
		case unix.ENODATA, unix.EACCES, unix.EPERM, unix.EOPNOTSUPP: // removed just now, or not for us
			continue
		default:
			return nil, fmt.Errorf("extended attribute %q: %w", name, err)
		}
		if total += len(name) + len(value); total > maxXattrs {
			return nil, fmt.Errorf("extended attributes of more than %d KiB", maxXattrs>>10)
		}
		all = append(all, source.Xattr{Name: name, Value: bytes.Clone(value)})
	}
	slices.SortFunc(all, func(a, b source.Xattr) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// fetch calls f with a buffer that is large enough.
func fetch(buf *[]byte, f func([]byte) (int, error)) ([]byte, error) {
	if *buf == nil {
		*buf = make([]byte, 512)
	}
	for {
		n, err := hostfs.Retry(func() (int, error) { return f(*buf) })
		switch {
		case err == unix.ERANGE && len(*buf) < maxXattr:
			*buf = make([]byte, maxXattr)
		case err != nil:
			return nil, err
		default:
			return (*buf)[:n], nil
		}
	}
}
