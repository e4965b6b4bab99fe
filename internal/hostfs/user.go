package hostfs

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A User is a user of this host whom a process of root acts as. The nil User stands for the process itself: its methods
// change nothing.
type User struct {
	Name   string // empty where the host knows the number alone
	Home   string // empty likewise
	UID    uint32
	GID    uint32
	Groups []uint32 // all of them, GID included
}

// LookupUser finds a user by name or by number. A number that this host has no user for is a user without a name, whose one
// group has the same number.
func LookupUser(name string) (*User, error) {
	u, err := user.Lookup(name)
	if unknown := user.UnknownUserError(""); errors.As(err, &unknown) {
		if n, numeric := strconv.ParseUint(name, 10, 32); numeric == nil {
			return LookupUID(uint32(n), uint32(n))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("looking up the user %q: %w", name, err)
	}
	return newUser(u)
}

// LookupUID finds a user by number. One that this host does not know is a user without a name, of the one group gid.
func LookupUID(uid, gid uint32) (*User, error) {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if unknown := user.UnknownUserIdError(0); errors.As(err, &unknown) {
		return &User{UID: uid, GID: gid, Groups: []uint32{gid}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking up user %d: %w", uid, err)
	}
	return newUser(u)
}

func newUser(u *user.User) (*User, error) {
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("the number of user %s: %w", u.Username, err)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("looking up the groups of %s: %w", u.Username, err)
	}
	found := &User{Name: u.Username, Home: u.HomeDir, UID: uint32(uid)}
	for i, id := range append([]string{u.Gid}, ids...) {
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("a group of %s: %w", u.Username, err)
		}
		if gid := uint32(n); i == 0 {
			found.GID, found.Groups = gid, []uint32{gid}
		} else if gid != found.GID {
			found.Groups = append(found.Groups, gid)
		}
	}
	return found, nil
}

// String names the user: by name, or by number where there is none.
func (u *User) String() string {
	switch {
	case u == nil:
		return "this process's user"
	case u.Name == "":
		return "user " + strconv.FormatUint(uint64(u.UID), 10)
	}
	return u.Name
}

// Credential makes a child process run as the user; nil for the nil User.
func (u *User) Credential() *syscall.Credential {
	if u == nil {
		return nil
	}
	return &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}
}

// Do calls f with the user's rights alone: the effective user, group and further groups of the calling thread are his, and
// root's capabilities are off. Linux keeps these for each thread, so f must do its work itself and start no goroutine for it.
// What it has opened stays open for everybody.
//
// The process keeps its real user, so the user can neither signal nor trace it meanwhile.
func (u *User) Do(f func() error) error {
	if u == nil || os.Geteuid() != 0 {
		return f()
	}
	runtime.LockOSThread()
	restore, err := u.become()
	if err == nil {
		defer restore()
		return f()
	}
	restore()
	return fmt.Errorf("taking the rights of %v: %w", u, err)
}

// become changes the effective user and groups of the calling thread, which is locked. What it returns changes them back and
// unlocks the thread. The package syscall would change every thread of the process, hence the system calls.
func (u *User) become() (restore func(), err error) {
	groups, err := unix.Getgroups()
	if err != nil {
		return runtime.UnlockOSThread, err
	}
	before := make([]uint32, len(groups))
	for i, g := range groups {
		before[i] = uint32(g)
	}
	gid := uint32(os.Getegid())
	restore = func() {
		// First the user: without root's rights the thread may not change the others.
		if err := errors.Join(setUser(0), setGroup(gid), setGroups(before)); err != nil {
			// A thread with half of a user's rights is of no use.
			panic("hostfs: taking back root's rights: " + err.Error())
		}
		runtime.UnlockOSThread()
	}
	// Last the user, with whom the right to change the others goes.
	if err = setGroups(u.Groups); err == nil {
		err = setGroup(u.GID)
	}
	if err == nil {
		err = setUser(u.UID)
	}
	return restore, err
}

// unchanged is the -1 that leaves a real or saved ID as it is.
const unchanged = ^uintptr(0)

func setUser(uid uint32) error {
	return rawCall(unix.SYS_SETRESUID, unchanged, uintptr(uid), unchanged)
}

func setGroup(gid uint32) error {
	return rawCall(unix.SYS_SETRESGID, unchanged, uintptr(gid), unchanged)
}

func setGroups(groups []uint32) error {
	return rawCall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(unsafe.SliceData(groups))), 0)
}

func rawCall(call, a, b, c uintptr) error {
	if _, _, errno := unix.RawSyscall(call, a, b, c); errno != 0 {
		return errno
	}
	return nil
}
