package media

import (
	"encoding/binary"
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// apply gives an open file its owner, extended attributes, mode and times. The order matters: a change of owner
// clears setuid and security.capability, an ACL changes the mode, and everything changes the times.
func (t *Target) apply(fd int, e *source.Entry) error {
	right, gid := t.chown(fd, e)
	mode := t.mode(e, gid)
	if !right && e.Type != source.Dir {
		// Another owner's setuid would lend its rights to the wrong programs.
		mode &^= unix.S_ISUID | unix.S_ISGID
	}
	t.setXattrs(fd, e)
	if e.Type != source.Symlink {
		if err := chmod(fd, e.Type, mode); unkept(err) {
			t.lost.add("mode not restored", e.Path, err)
		} else if err != nil {
			return err
		}
	}
	err := setTimes(fd, e.MTime)
	if unkept(err) {
		t.lost.add("time not restored", e.Path, err)
		return nil
	}
	return err
}

// unkept reports whether an error says that a file system does not keep something, as FAT and CIFS don't keep modes.
func unkept(err error) bool { return err == unix.EPERM || err == unix.EOPNOTSUPP || err == unix.EINVAL }

// applyByName is apply for what can't be opened for reading: symbolic links and special files.
func (t *Target) applyByName(dir int, name string, e *source.Entry) error {
	fd, err := hostfs.Retry(func() (int, error) { return unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0) })
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return t.apply(fd, e)
}

// byPath reports whether files of a type are open as O_PATH, which only calls that take a path work on.
func byPath(typ source.Type) bool { return typ != source.File && typ != source.Dir }

// chown gives a file its owner, or its group alone. It reports whether the owner is right, and which group was to be given.
func (t *Target) chown(fd int, e *source.Entry) (right bool, gid int) {
	uid, gid := t.owners.of(e)
	if !t.trusted && t.owners.replaceRoot(&uid, &gid) {
		t.lost.add("root's, and now of the media's owner", e.Path, errUntrusted)
	}
	err := unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH)
	if err == nil {
		return true, gid
	}
	// Users may give a file to a group they are in.
	if unix.Fchownat(fd, "", -1, gid, unix.AT_EMPTY_PATH) != nil {
		t.lost.add("owner and group not restored", e.Path, err)
	} else {
		t.lost.add("owner not restored", e.Path, err)
	}
	t.other(uid, gid)
	return false, gid
}

func (t *Target) setXattrs(fd int, e *source.Entry) {
	if t.inherits && e.Type != source.Symlink {
		// A default ACL above gave this one an ACL that the original did not have.
		removeXattr(fd, e.Type, aclAccess)
		if e.Type == source.Dir {
			removeXattr(fd, e.Type, aclDefault)
		}
	}
	for _, x := range e.Xattrs {
		if !kept(x.Name) {
			t.lost.add("extended attribute unknown and not restored", e.Path, fmt.Errorf("%q", x.Name))
			continue
		}
		if !t.trusted && rootsOwn(x.Name) {
			t.leaveOut("extended attributes that root alone can set", e.Path)
			continue
		}
		value := x.Value
		if x.Name == aclAccess || x.Name == aclDefault {
			value = t.owners.acl(value)
		}
		var err error
		if byPath(e.Type) {
			err = unix.Setxattr(hostfs.ProcPath(fd), x.Name, value, 0)
		} else {
			err = unix.Fsetxattr(fd, x.Name, value, 0)
		}
		if err != nil {
			t.lost.add("extended attribute "+strconv.Quote(x.Name)+" not restored", e.Path, err)
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

// owners maps the numbers of owners as they were to those of this machine.
type owners struct {
	users, groups map[uint32]uint32
	names         [2]map[uint32]string // that users and groups had, by their numbers here
	uid, gid      int                  // of the media's owner; root's where nobody else is known
}

func newOwners(o TargetOptions) owners {
	var all owners
	if !o.NumericIDs {
		all = ownersByName(o)
	}
	all.names = [2]map[uint32]string{namesHere(o.Users, all.users), namesHere(o.Groups, all.groups)}
	if u, err := hostfs.LookupUser(o.Owner); err == nil && o.Owner != "" {
		all.uid, all.gid = int(u.UID), int(u.GID)
	}
	return all
}

// own makes the owner of the tree's root the media's owner, unless that is root.
func (o *owners) own(root *source.Entry) {
	uid, gid := o.of(root)
	if uid != 0 {
		o.uid = uid
	}
	if gid != 0 {
		o.gid = gid
	}
}

// replaceRoot puts the media's owner and group in the place of root and root's, and reports whether that was needed.
func (o *owners) replaceRoot(uid, gid *int) bool {
	was, group := *uid, *gid
	if was == 0 {
		*uid = o.uid
	}
	if group == 0 {
		*gid = o.gid
	}
	return *uid != was || *gid != group
}

func ownersByName(o TargetOptions) owners {
	return owners{
		users: numbers(o.Users, func(name string) (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		}),
		groups: numbers(o.Groups, func(name string) (string, error) {
			g, err := user.LookupGroup(name)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		}),
	}
}

func numbers(names map[uint32]string, lookup func(string) (string, error)) map[uint32]uint32 {
	m := make(map[uint32]uint32)
	for was, name := range names {
		if id, err := lookup(name); err == nil {
			if n, err := strconv.ParseUint(id, 10, 32); err == nil {
				m[was] = uint32(n)
			}
		}
	}
	return m
}

// namesHere returns names by what their numbers are here.
func namesHere(names map[uint32]string, numbers map[uint32]uint32) map[uint32]string {
	m := make(map[uint32]string)
	for was, name := range names {
		m[here(numbers, was)] = name
	}
	return m
}

// here returns what a number is on this machine: the same, where its name is not known here.
func here(m map[uint32]uint32, id uint32) uint32 {
	if n, ok := m[id]; ok {
		return n
	}
	return id
}

// of returns the owner of e on this machine.
func (o *owners) of(e *source.Entry) (uid, gid int) {
	return int(here(o.users, e.UID)), int(here(o.groups, e.GID))
}

// acl returns a POSIX ACL with its users and groups as they are numbered here: behind a u32 version, which is 2, are
// entries of a u16 tag, a u16 of permissions and a u32 number, all little-endian. Anything else is returned as it is.
func (o *owners) acl(value []byte) []byte {
	const version, tagUser, tagGroup = 2, 0x02, 0x08
	if len(value)%8 != 4 || binary.LittleEndian.Uint32(value) != version {
		return value
	}
	value = slices.Clone(value)
	for e := value[4:]; len(e) > 0; e = e[8:] {
		id := binary.LittleEndian.Uint32(e[4:])
		switch binary.LittleEndian.Uint16(e) {
		case tagUser:
			id = here(o.users, id)
		case tagGroup:
			id = here(o.groups, id)
		}
		binary.LittleEndian.PutUint32(e[4:], id)
	}
	return value
}

// losses counts what could not be restored, by kind.
type losses struct {
	warn  func(path string, err error)
	mu    sync.Mutex
	kinds map[string]*loss
	order []*loss
}

type loss struct {
	kind, path string
	err        error
	files      int
}

// maxKinds bounds the kinds: names of attributes are as many as a listing likes.
const maxKinds = 100

func (l *losses) add(kind, path string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.order) >= maxKinds && l.kinds[kind] == nil {
		kind = "more not restored"
	}
	x := l.kinds[kind]
	if x == nil {
		x = &loss{kind: kind, path: path, err: err}
		if l.kinds == nil {
			l.kinds = make(map[string]*loss)
		}
		l.kinds[kind] = x
		l.order = append(l.order, x)
	}
	x.files++
}

// tell hands out the warnings, once.
func (l *losses) tell() {
	l.mu.Lock()
	all := l.order
	l.order, l.kinds = nil, nil
	l.mu.Unlock()
	if l.warn == nil {
		return
	}
	for _, x := range all {
		files := "1 file"
		if x.files != 1 {
			files = strconv.Itoa(x.files) + " files"
		}
		l.warn(x.path, fmt.Errorf("%s: %s: %w", files, x.kind, x.err))
	}
}
