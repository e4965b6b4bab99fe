package media

import (
	"errors"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// A There says what a Target holds at the path of an entry.
type There int

const (
	Absent  There = iota
	Same          // what the entry says, as far as can be seen without reading: of a file type, size, time, mode and owner
	Similar       // a regular file of the entry's size, and with another time, mode or owner
	Other         // something else
)

// Look says what is at an entry's path. Where that is the entry's and has another owner than it should, this counts for Owners.
func (t *Target) Look(e *source.Entry) (is There, err error) {
	err = t.do("look", e.Path, func() error {
		return t.in(e.Path, t.openDir, func(dir int, name string) error {
			is, err = t.look(e, dir, name)
			return err
		})
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return Absent, nil
	}
	return is, err
}

func (t *Target) look(e *source.Entry, dir int, name string) (There, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return Absent, err
	}
	var is source.Entry
	fill(&is, &st)
	if is.Type != e.Type || is.Size != e.Size || is.Rdev != e.Rdev {
		return Other, nil
	}
	switch e.Type {
	case source.File:
		if !t.looks(e, &is) {
			return Similar, nil
		}
	case source.Symlink:
		buf := make([]byte, len(e.Target)+1)
		if n, err := unix.Readlinkat(dir, name, buf); err != nil || string(buf[:n]) != e.Target {
			return Other, nil
		}
	}
	if uid, gid := t.owner(e); !t.givesAway() && (int(st.Uid) != uid || int(st.Gid) != gid) {
		t.other(uid, gid)
	}
	return Same, nil
}

// owner returns whose an entry's file is to be.
func (t *Target) owner(e *source.Entry) (uid, gid int) {
	uid, gid = t.owners.of(e)
	if !t.trusted {
		t.owners.replaceRoot(&uid, &gid)
	}
	return uid, gid
}

// looks reports whether a file has the time and the mode of an entry and, where this process can give files away, its owner.
func (t *Target) looks(e, is *source.Entry) bool {
	bits := uint32(0o777)
	uid, gid := t.owner(e)
	mine := int(is.UID) == uid && int(is.GID) == gid
	if t.givesAway() && !mine {
		return false
	}
	if t.trusted && mine {
		bits = 07777
	}
	return is.MTime == e.MTime && is.Mode&bits == e.Mode&bits
}

// givesAway reports whether this process can change owners in the tree.
func (t *Target) givesAway() bool { return t.user == nil && os.Geteuid() == 0 }

// Open opens the regular file at an entry's path for reading.
func (t *Target) Open(e *source.Entry) (f *os.File, err error) {
	err = t.do("open", e.Path, func() error {
		at, err := hostfs.OpenBeneath(t.root, e.Path, unix.O_PATH|unix.O_NOFOLLOW, 0)
		if err != nil {
			return err
		}
		defer unix.Close(at)
		f, err = hostfs.Reopen(at, e.Path)
		return err
	})
	return f, err
}

// Adopt gives a file that has an entry's content the entry's attributes. It reports false where that would change a file that may have
// another name elsewhere, with more rights than the tree's owner has: then a copy is to take its place.
func (t *Target) Adopt(f *os.File, e *source.Entry) (bool, error) {
	if t.givesAway() {
		return false, nil
	}
	return true, t.do("set attributes", e.Path, func() error { return t.apply(int(f.Fd()), e) })
}

// An Owner is one that files were to have and have not, as this machine numbers it.
type Owner struct {
	UID   int    `json:"uid"`
	GID   int    `json:"gid"`
	User  string `json:"user,omitempty"`  // the name that it had where the tree was walked
	Group string `json:"group,omitempty"` // likewise
	Files int64  `json:"files"`           // of all types, directories too
}

// maxOwners bounds the owners that are told apart.
const maxOwners = 1000

// other notes a file that does not belong to whom it should.
func (t *Target) other(uid, gid int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if key := [2]int{uid, gid}; t.others[key] > 0 || len(t.others) < maxOwners {
		t.others[key]++
	}
}

// Owners returns the owners and groups that files in the tree should have and have not, the most frequent first.
func (t *Target) Owners() (all []Owner) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, n := range t.others {
		all = append(all, Owner{key[0], key[1], t.owners.names[0][uint32(key[0])], t.owners.names[1][uint32(key[1])], n})
	}
	slices.SortFunc(all, func(a, b Owner) int {
		switch {
		case a.Files != b.Files:
			return int(b.Files - a.Files)
		case a.UID != b.UID:
			return a.UID - b.UID
		}
		return a.GID - b.GID
	})
	return all
}

// Shut keeps all but root out of a tree of root's until the root gets its attributes: so nobody comes and plants links in
// directories that root has given away already.
func (t *Target) Shut() error {
	if !t.givesAway() {
		return nil
	}
	return pathError("chmod", ".", unix.Fchmod(t.root, 0o700))
}

// Refuses reports whether an error is a file system's word on one file: its name is too long or has a character that is
// none there, it is of a type that is not kept there, this process may not make it, or something is in its way. Others would
// be met by each file.
func Refuses(err error) bool {
	return slices.ContainsFunc([]error{unix.ENAMETOOLONG, unix.EPERM, unix.EACCES, unix.EINVAL, unix.EILSEQ, unix.EOPNOTSUPP, unix.EFBIG, unix.EOVERFLOW,
		unix.EMLINK, unix.EXDEV, unix.ENOTDIR, unix.EISDIR, unix.ELOOP, unix.EEXIST, unix.ENOTEMPTY, unix.EBUSY, unix.ETXTBSY, unix.ENODEV, unix.ENXIO,
		os.ErrInvalid, hostfs.ErrNotRegular, errDirectory}, func(e error) bool { return errors.Is(err, e) })
}

func isPart(name string) bool {
	return strings.HasPrefix(name, ".permafrost-") && strings.HasSuffix(name, ".partial")
}
