package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"permafrost/internal/hint"
)

// An identity is an operating-system user that a process of root acts as.
type identity struct {
	name     string
	home     string
	uid, gid uint32
	groups   []uint32
}

// lookupIdentity finds osUser, a name or a number. It is nil where there is nothing to change: no user is
// named, or the process is not root's, or the user is root.
func lookupIdentity(osUser string) (*identity, error) {
	if osUser == "" || os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup(osUser)
	if unknown := user.UnknownUserError(""); errors.As(err, &unknown) {
		if _, numeric := strconv.ParseUint(osUser, 10, 32); numeric == nil {
			u, err = user.LookupId(osUser)
		}
	}
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("looking up the user who owns the Mastodon directory: %w", err),
			"the directory that holds Mastodon's code should belong to the user that Mastodon runs as")
	}
	id := &identity{name: u.Username, home: u.HomeDir}
	if id.uid, err = parseID(u.Uid); err != nil {
		return nil, err
	}
	if id.gid, err = parseID(u.Gid); err != nil {
		return nil, err
	}
	id.groups = []uint32{id.gid}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("looking up the groups of %s: %w", u.Username, err)
	}
	for _, g := range groups {
		n, err := parseID(g)
		if err != nil {
			return nil, err
		}
		if n != id.gid {
			id.groups = append(id.groups, n)
		}
	}
	if id.uid == 0 {
		return nil, nil
	}
	return id, nil
}

func parseID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err
}

// apply makes cmd run as the identity.
func (id *identity) apply(cmd *exec.Cmd) {
	if id != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id.uid, Gid: id.gid, Groups: id.groups}}
	}
}

// dial connects to a Unix socket as the identity: its server is told the effective user and group of the
// thread that connects. Linux keeps those for each thread, so one thread changes them, dials, and changes
// them back. If it can't change back it is never used again. (It is not simply left to die: the kernel would
// then end the children that asked to die with their parent, if this thread had started them.)
func (id *identity) dial(ctx context.Context, addr string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		restore, err := id.become()
		var r result
		if r.err = err; err == nil {
			r.conn, r.err = new(net.Dialer).DialContext(ctx, "unix", addr)
		}
		if restore() {
			runtime.UnlockOSThread()
		}
		done <- r
	}()
	r := <-done
	return r.conn, r.err
}

// become changes the calling thread's effective user and groups. What it returns changes back whatever was
// changed, and reports whether that worked. The package syscall would change every thread of the process,
// hence the system calls.
func (id *identity) become() (restore func() bool, err error) {
	uid, gid := os.Geteuid(), os.Getegid()
	groups, err := rawGroups()
	if err != nil {
		return func() bool { return true }, err
	}
	restore = func() bool {
		// First the user: without it the thread may not change the others.
		return setUser(uint32(uid)) == nil && setGroup(uint32(gid)) == nil && setGroups(groups) == nil
	}
	if err = setGroups(id.groups); err == nil {
		err = setGroup(id.gid)
	}
	if err == nil {
		err = setUser(id.uid)
	}
	if err != nil {
		err = fmt.Errorf("becoming the user %s: %w", id.name, err)
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

func rawGroups() ([]uint32, error) {
	gids, err := unix.Getgroups()
	if err != nil {
		return nil, err
	}
	groups := make([]uint32, len(gids))
	for i, g := range gids {
		groups[i] = uint32(g)
	}
	return groups, nil
}

func rawCall(call, a, b, c uintptr) error {
	if _, _, errno := unix.RawSyscall(call, a, b, c); errno != 0 {
		return errno
	}
	return nil
}

// passFile returns a PGPASSFILE with the password: a file in memory, without a name, that only the identity
// (or else this process's user) may read, and that is gone with the last process that holds it open. It is
// nil for an empty password: then ~/.pgpass counts.
func passFile(password string, id *identity) (f *os.File, err error) {
	if password == "" {
		return nil, nil
	}
	if strings.ContainsAny(password, "\r\n\x00") {
		return nil, errors.New("the database's password holds a line break or a NUL, which no PGPASSFILE can")
	}
	fd, err := unix.MemfdCreate("pgpass", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making a password file in memory: %w", err)
	}
	f = os.NewFile(uintptr(fd), "pgpass")
	defer func() {
		if err != nil {
			f.Close()
			err = fmt.Errorf("making a password file in memory: %w", err)
		}
	}()
	if err = f.Chmod(0o600); err != nil {
		return nil, err
	}
	if _, err = f.WriteString("*:*:*:*:" + strings.NewReplacer(`\`, `\\`, ":", `\:`).Replace(password) + "\n"); err != nil {
		return nil, err
	}
	if id != nil {
		err = f.Chown(int(id.uid), int(id.gid))
	}
	return f, err
}
