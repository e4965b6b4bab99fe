package deploy

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
)

// A process is the first process of a container, as this host's kernel knows it.
type process struct {
	dir *os.File // its directory in /proc: stands for this process and none that gets its number later
	net *os.File // its network namespace; nil where this process has no right to it
}

// maxCgroup bounds what a process's list of control groups may have, in bytes.
const maxCgroup = 64 << 10

// openProcess opens the first process of a container. It must be in the container's control group: an engine on another host, or in a virtual
// machine, names processes that are others here.
func openProcess(c *container) (*process, error) {
	if c.State.Pid <= 1 {
		return nil, errors.New("the engine names no process of the container")
	}
	dir, err := os.Open("/proc/" + strconv.Itoa(c.State.Pid))
	if err != nil {
		return nil, err
	}
	p := &process{dir: dir}
	groups, err := p.read("cgroup", maxCgroup)
	if err == nil && !strings.Contains(string(groups), c.ID) {
		err = fmt.Errorf("process %d is not in the control group of container %.12s", c.State.Pid, c.ID)
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	if fd, err := p.open("ns/net"); err == nil {
		p.net = fd
	}
	return p, nil
}

// Close releases what the process is known by.
func (p *process) Close() {
	p.dir.Close()
	if p.net != nil {
		p.net.Close()
	}
}

func (p *process) open(name string) (*os.File, error) {
	fd, err := hostfs.Retry(func() (int, error) { return unix.Openat(int(p.dir.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", p.dir.Name(), name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (p *process) read(name string, limit int64) ([]byte, error) {
	f, err := p.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// within calls f on a thread that is in the process's network. What f starts there stays there.
func (p *process) within(f func() error) error {
	if p.net == nil {
		return errors.New("only root may enter a container's network")
	}
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	if err := unix.Setns(int(p.net.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("entering the container's network: %w", err)
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread stays locked, and ends with its goroutine: nothing else may run in that network.
		return errors.Join(err, fmt.Errorf("leaving the container's network: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

// proofTime is how long the kernel may take to list a connection that it has just made.
const proofTime = 2 * time.Second

// proves makes sure that a connection's other end is in the process's network: another one may use the same addresses.
func (p *process) proves(ctx context.Context, conn net.Conn) error {
	local, ok := conn.LocalAddr().(*net.TCPAddr)
	remote, okToo := conn.RemoteAddr().(*net.TCPAddr)
	if !ok || !okToo {
		return errors.New("not a connection of TCP")
	}
	for end := time.Now().Add(proofTime); ; {
		for _, table := range []struct {
			name string
			v4   bool
		}{{"net/tcp", true}, {"net/tcp6", false}} {
			found, err := p.lists(table.name, procAddr(remote, table.v4), procAddr(local, table.v4))
			if err != nil || found {
				return err
			}
		}
		if time.Now().After(end) {
			return fmt.Errorf("what answers at %v is not that container", remote)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lists reports whether one of the kernel's tables has a connection between two addresses.
func (p *process) lists(table, local, remote string) (bool, error) {
	if local == "" || remote == "" {
		return false, nil
	}
	f, err := p.open(table)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // a host without IPv6
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	const established, received, columns = "01", "03", 4 // sl local remote state
	for lines := bufio.NewScanner(f); lines.Scan(); {
		c := strings.Fields(lines.Text())
		if len(c) >= columns && c[1] == local && c[2] == remote && (c[3] == established || c[3] == received) {
			return true, nil
		}
	}
	return false, nil
}

// procAddr writes an address as the kernel's tables do: each four bytes as a number of this machine's byte order. It is empty for
// an address that the table does not have.
func procAddr(a *net.TCPAddr, v4 bool) string {
	ip := a.IP.To16()
	if v4 {
		ip = a.IP.To4()
	}
	if ip == nil {
		return ""
	}
	var b strings.Builder
	for word := range slices.Chunk(ip, 4) {
		fmt.Fprintf(&b, "%08X", binary.NativeEndian.Uint32(word))
	}
	return fmt.Sprintf("%s:%04X", b.String(), a.Port)
}
