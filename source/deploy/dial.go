package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/internal/hint"
	"permafrost/internal/hostfs"
	"permafrost/source"
)

// dialTime bounds one try to reach a container. It is on this host.
const dialTime = 5 * time.Second

// A route is how a container is reached.
type route string

const (
	byAddress   route = "its address"
	byNamespace route = "its network"
	byExec      route = "a program in it"
)

// A reached is a source.Container: a running container of an engine.
type reached struct {
	c      *container
	engine *engine
	addr   netip.Addr // in a network that Mastodon's container is in too

	mu    sync.Mutex
	route route    // that worked; "" before the first
	proc  *process // nil where the engine's processes are not this host's
}

// String names the container.
func (r *reached) String() string { return r.c.Name }

// Dial connects to a port of the container.
func (r *reached) Dial(ctx context.Context, u *hostfs.User, port string) (net.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, w := range []route{byAddress, byNamespace, byExec} {
		if r.route != "" && r.route != w {
			continue
		}
		conn, err := r.dialBy(ctx, w, u, port)
		if err == nil {
			r.route = w
			return conn, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		errs = append(errs, fmt.Errorf("by %s: %w", w, err))
		if w == byNamespace && errors.Is(err, syscall.ECONNREFUSED) {
			break // the container itself has said that nothing listens
		}
	}
	return nil, &source.ReachError{Err: source.Because(CauseNoListener, fmt.Errorf("reaching the container %s: %w", r.c.Name, hint.Join(errs...)), r.engine.name, r.c.Name)}
}

func (r *reached) dialBy(ctx context.Context, w route, u *hostfs.User, port string) (conn net.Conn, err error) {
	if w == byExec {
		return r.relay(ctx, port)
	}
	if r.proc == nil {
		if r.proc, err = openProcess(r.c); err != nil {
			return nil, err
		}
	}
	addr := net.JoinHostPort(r.host(), port)
	if w == byNamespace {
		err = r.proc.within(func() (err error) {
			conn, err = dial(ctx, u, addr)
			return err
		})
		if err != nil && conn != nil {
			conn.Close()
		}
		return conn, err
	}
	if !r.addr.IsValid() {
		return nil, errors.New("it has none")
	}
	if conn, err = dial(ctx, u, addr); err != nil {
		return nil, err
	}
	if err = r.proc.proves(ctx, conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func dial(ctx context.Context, u *hostfs.User, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	return u.Dial(ctx, "tcp", addr)
}

// host is the container's address for a program that is in the right network.
func (r *reached) host() string {
	if r.addr.IsValid() {
		return r.addr.String()
	}
	return "127.0.0.1"
}

// Addr is the address at which a program that Enter has started reaches the container.
func (r *reached) Addr() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.route == byAddress || r.route == byNamespace {
		return r.host()
	}
	return ""
}

// Enter calls start where programs reach the container's address.
func (r *reached) Enter(start func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.route == byNamespace {
		return r.proc.within(start)
	}
	return start()
}

// Command returns a command that runs a program in the container.
func (r *reached) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	return r.engine.command(ctx, append([]string{"exec", "--interactive", r.c.ID, program}, args...)...)
}

// relayScript passes bytes between its standard streams and a port, both ways, until one side ends. Not every image has bash, and none of
// those without it lacks nc.
//
// It waits for what it has started. The first process of the container inherits whatever is left, and where that is PostgreSQL it
// takes a child that a signal ended for a session that crashed: it ends all sessions and recovers.
const relayScript = `command -v bash >/dev/null || exec nc 127.0.0.1 "$1"
exec bash -c '
exec 3<>"/dev/tcp/127.0.0.1/$1" 4<&0 || exit 1
cat <&3 & from=$!
cat <&4 >&3 & to=$!
wait -n
kill $from $to 2>/dev/null
wait' relay "$1"`

// relay connects to a port by a program within the container.
func (r *reached) relay(ctx context.Context, port string) (net.Conn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "relay"), os.NewFile(uintptr(fds[1]), "relay")
	defer ours.Close()
	defer theirs.Close()
	// The connection may outlive the context that it was made in.
	rctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	cmd := r.Command(rctx, "sh", "-c", relayScript, "relay", port)
	said := &bounded{limit: maxSaid}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, said
	conn, err := net.FileConn(ours)
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	rc := &relayed{Conn: conn, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(rc.done)
		if err := cmd.Wait(); err != nil && said.kept.Len() > 0 {
			rc.err = errors.New(said.lastLine())
		}
	}()
	return rc, nil
}

// A relayed connection goes through a program in a container.
type relayed struct {
	net.Conn
	cancel context.CancelFunc
	done   chan struct{} // closed once the program has ended
	err    error         // what it said then
}

func (c *relayed) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == io.EOF {
		select {
		case <-c.done:
			if c.err != nil {
				err = c.err
			}
		case <-time.After(time.Second):
		}
	}
	return n, err
}

// Close ends the program too: it sees the end of its input. One that does not is killed.
func (c *relayed) Close() error {
	err := c.Conn.Close()
	go func() {
		select {
		case <-c.done:
		case <-time.After(5 * time.Second):
		}
		c.cancel()
	}()
	return err
}
