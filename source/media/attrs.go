package media

import (
	"fmt"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// attributes gives files their owners, extended attributes, modes and times, and notes what it could not.
type attributes struct {
	user     *hostfs.User // whose rights files are made with; nil for the process's own
	inherits bool         // a default ACL above gives each file an ACL
	trusted  bool
	owners   owners
	lost     losses

	mu     sync.Mutex
	others map[[2]int]int64 // files by the owner and group that they should have and have not
}

// apply gives an open file its owner, extended attributes, mode and times. The order matters: a change of owner
// clears setuid and security.capability, an ACL changes the mode, and everything changes the times.
func (a *attributes) apply(fd int, e *source.Entry) error {
	right, gid := a.chown(fd, e)
	mode := a.mode(e, gid)
	if !right && e.Type != source.Dir {
		// Another owner's setuid would lend its rights to the wrong programs.
		mode &^= unix.S_ISUID | unix.S_ISGID
	}
	a.setXattrs(fd, e)
	if e.Type != source.Symlink {
		if err := chmod(fd, e.Type, mode); unkept(err) {
			a.lost.add("mode not restored", e.Path, err)
		} else if err != nil {
			return err
		}
	}
	err := setTimes(fd, e.MTime)
	if unkept(err) {
		a.lost.add("time not restored", e.Path, err)
		return nil
	}
	return err
}

// unkept reports whether an error says that a file system does not keep something, as FAT and CIFS don't keep modes.
func unkept(err error) bool { return err == unix.EPERM || err == unix.EOPNOTSUPP || err == unix.EINVAL }

// applyByName is apply for what can't be opened for reading: symbolic links and special files.
func (a *attributes) applyByName(dir int, name string, e *source.Entry) error {
	fd, err := hostfs.Retry(func() (int, error) { return unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0) })
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return a.apply(fd, e)
}

// byPath reports whether files of a type are open as O_PATH, which only calls that take a path work on.
func byPath(typ source.Type) bool { return typ != source.File && typ != source.Dir }

// chown gives a file its owner, or its group alone. It reports whether the owner is right, and which group was to be given.
func (a *attributes) chown(fd int, e *source.Entry) (right bool, gid int) {
	uid, gid := a.owners.of(e)
	if !a.trusted && a.owners.replaceRoot(&uid, &gid) {
		a.lost.add("root's, and now of the media's owner", e.Path, errUntrusted)
	}
	err := unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH)
	if err == nil {
		return true, gid
	}
	// Users may give a file to a group they are in.
	if unix.Fchownat(fd, "", -1, gid, unix.AT_EMPTY_PATH) != nil {
		a.lost.add("owner and group not restored", e.Path, err)
	} else {
		a.lost.add("owner not restored", e.Path, err)
	}
	a.other(uid, gid)
	return false, gid
}

func (a *attributes) setXattrs(fd int, e *source.Entry) {
	if a.inherits && e.Type != source.Symlink {
		// A default ACL above gave this one an ACL that the original did not have.
		removeXattr(fd, e.Type, aclAccess)
		if e.Type == source.Dir {
			removeXattr(fd, e.Type, aclDefault)
		}
	}
	for _, x := range e.Xattrs {
		if !kept(x.Name) {
			a.lost.add("extended attribute unknown and not restored", e.Path, fmt.Errorf("%q", x.Name))
			continue
		}
		if !a.trusted && rootsOwn(x.Name) {
			a.leaveOut("extended attributes that root alone can set", e.Path)
			continue
		}
		value := x.Value
		if x.Name == aclAccess || x.Name == aclDefault {
			value = a.owners.acl(value)
		}
		var err error
		if byPath(e.Type) {
			err = unix.Setxattr(hostfs.ProcPath(fd), x.Name, value, 0)
		} else {
			err = unix.Fsetxattr(fd, x.Name, value, 0)
		}
		if err != nil {
			a.lost.add("extended attribute "+strconv.Quote(x.Name)+" not restored", e.Path, err)
		}
	}
}

// removeXattr removes an attribute that may well be missing.
func removeXattr(fd int, typ source.Type, name string) {
	if byPath(typ) {
		unix.Removexattr(hostfs.ProcPath(fd), name)
	} else {
		unix.Fremovexattr(fd, name)
	}
}

func chmod(fd int, typ source.Type, mode uint32) error {
	if byPath(typ) {
		return unix.Chmod(hostfs.ProcPath(fd), mode)
	}
	return unix.Fchmod(fd, mode)
}

// setTimes sets the time of modification, and leaves that of access.
func setTimes(fd int, mtime int64) error {
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(mtime)}
	err := unix.UtimesNanoAt(fd, "", ts, unix.AT_EMPTY_PATH)
	if err == unix.EINVAL || err == unix.ENOENT { // Linux before 5.8
		err = unix.UtimesNanoAt(unix.AT_FDCWD, hostfs.ProcPath(fd), ts, 0)
	}
	return err
}

// finish gives a file that was written its size and its attributes.
func (a *attributes) finish(f *os.File, e *source.Entry) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != e.Size {
		if err := f.Truncate(e.Size); err != nil {
			return err
		}
	}
	return a.apply(int(f.Fd()), e)
}

// look says what is at a name, and counts it where it is the entry's and somebody else's.
func (a *attributes) look(e *source.Entry, dir int, name string) (There, error) {
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
		if !a.looks(e, &is) {
			return Similar, nil
		}
	case source.Symlink:
		buf := make([]byte, len(e.Target)+1)
		if n, err := unix.Readlinkat(dir, name, buf); err != nil || string(buf[:n]) != e.Target {
			return Other, nil
		}
	}
	if uid, gid := a.owner(e); !a.givesAway() && (int(st.Uid) != uid || int(st.Gid) != gid) {
		a.other(uid, gid)
	}
	return Same, nil
}

// owner returns whose an entry's file is to be.
func (a *attributes) owner(e *source.Entry) (uid, gid int) {
	uid, gid = a.owners.of(e)
	if !a.trusted {
		a.owners.replaceRoot(&uid, &gid)
	}
	return uid, gid
}

// looks reports whether a file has the time and the mode of an entry and, where this process can give files away, its owner.
func (a *attributes) looks(e, is *source.Entry) bool {
	bits := uint32(0o777)
	uid, gid := a.owner(e)
	mine := int(is.UID) == uid && int(is.GID) == gid
	if a.givesAway() && !mine {
		return false
	}
	if a.trusted && mine {
		bits = 07777
	}
	return is.MTime == e.MTime && is.Mode&bits == e.Mode&bits
}

// givesAway reports whether this process can change owners in the tree.
func (a *attributes) givesAway() bool { return a.user == nil && os.Geteuid() == 0 }
