package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
)

// pipeSize is what the pipes to and from children hold, in bytes: the most that Linux lets an ordinary user
// ask for. With its usual 64 KiB they switch between the processes four times as often.
const pipeSize = 1 << 20

// silence is how long a child may neither take nor give anything. Its user can halt it, a server may never answer it, and a lock
// of somebody's may be in its way.
const silence = time.Hour

// A child is a pg_dump or pg_restore at work.
type child struct {
	name     string
	cmd      *exec.Cmd
	said     lineWriter
	patience time.Duration
	once     sync.Once
	err      error
}

// A pipeEnd is this process's end of a pipe from or to a child.
type pipeEnd struct {
	*os.File
	patience time.Duration
}

func (p *pipeEnd) Read(b []byte) (int, error) {
	if err := p.SetReadDeadline(time.Now().Add(p.patience)); err != nil {
		return 0, err
	}
	n, err := p.File.Read(b)
	return n, p.explain(err, "pg_dump has given nothing")
}

func (p *pipeEnd) Write(b []byte) (int, error) {
	if err := p.SetWriteDeadline(time.Now().Add(p.patience)); err != nil {
		return 0, err
	}
	n, err := p.File.Write(b)
	return n, p.explain(err, "pg_restore has taken nothing")
}

func (p *pipeEnd) explain(err error, what string) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &haltedError{what, p.patience}
	}
	return err
}

// A haltedError says that a child was still for too long.
type haltedError struct {
	state    string
	patience time.Duration
}

func (e *haltedError) Error() string { return fmt.Sprintf("%s for %v", e.state, e.patience) }

// startDump starts pg_dump with its output going to out. It ends when ctx does.
func (s *Server) startDump(ctx context.Context, out *os.File, args ...string) (*child, error) {
	if s.tools.inside {
		cmd, err := s.dumpInside(ctx, args)
		if err != nil {
			return nil, err
		}
		cmd.Stdout = out
		return s.begin(cmd, cmd.Start)
	}
	cmd := exec.CommandContext(ctx, s.tools.dump, args...)
	cmd.Stdout = out
	cmd.Env = s.connEnv()
	if s.pass != nil {
		cmd.ExtraFiles = []*os.File{s.pass}
	}
	return s.start(cmd)
}

// startRestore starts pg_restore on what comes out of in. It ends when ctx does.
func (s *Server) startRestore(ctx context.Context, in *os.File, args ...string) (*child, error) {
	if s.tools.inside {
		cmd := s.db.Container.Command(ctx, s.tools.restore, args...)
		cmd.Stdin = in
		return s.begin(cmd, cmd.Start)
	}
	cmd := exec.CommandContext(ctx, s.tools.restore, args...)
	cmd.Stdin = in
	return s.start(cmd)
}

// start runs cmd as the server's user.
func (s *Server) start(cmd *exec.Cmd) (*child, error) {
	confine(cmd, s.opts.User)
	start := func() error { return launch(cmd) }
	if c := s.db.Container; c != nil {
		return s.begin(cmd, func() error { return c.Enter(start) })
	}
	return s.begin(cmd, start)
}

// begin makes a child of cmd, which start starts.
func (s *Server) begin(cmd *exec.Cmd, start func() error) (*child, error) {
	c := &child{name: filepath.Base(cmd.Path), cmd: cmd, patience: s.silence}
	if s.tools.inside {
		c.name = "pg_dump or pg_restore in the container " + s.db.Container.String()
	}
	c.said.w = s.stderr
	cmd.Stderr = &c.said
	if err := start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.name, err)
	}
	return c, nil
}

// confine makes cmd run as a user, who may do with the process what he likes. The environment is cmd's own and a few harmless
// variables; nothing is inherited. In a session of its own it can't type into the terminal of root's.
func confine(cmd *exec.Cmd, u *hostfs.User) {
	home := homeOf(u)
	if home == "" {
		home = "/nonexistent"
	}
	cmd.Env = append(cmd.Env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME="+home)
	cmd.Dir = "/" // this process's directory may be closed to the user
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: u.Credential(), Setsid: true, Pdeathsig: syscall.SIGTERM}
}

// launch starts cmd in a session keyring of its own. A child of another user would have root's else, and could read its keys.
func launch(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// The thread's own keyring, which the child takes over. Nothing here uses keys, and a kernel without them has none to keep.
	unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)
	return cmd.Start()
}

// connEnv tells libpq how to connect. Where there is a password, it is in the first of the ExtraFiles.
func (s *Server) connEnv() []string {
	env := []string{
		"PGHOST=" + s.db.Host, fmt.Sprintf("PGPORT=%d", s.db.Port), "PGDATABASE=" + s.db.Name, "PGUSER=" + s.db.User,
		"PGSSLMODE=" + s.db.SSLMode,
	}
	if s.db.Container != nil {
		env = append(env, "PGHOSTADDR="+s.db.Container.Addr())
	}
	for name, value := range s.db.Params {
		if name == "options" || name == "passfile" && s.pass != nil {
			continue // below
		}
		// libpq's variables are named like its parameters, but for this one's underscore.
		variable := strings.ReplaceAll(name, "_", "")
		if name == "connect_timeout" {
			variable = name
		}
		env = append(env, "PG"+strings.ToUpper(variable)+"="+value)
	}
	env = append(env, "PGAPPNAME="+s.session+dumpSession, "PGCLIENTENCODING="+s.facts.Encoding, "PGOPTIONS="+s.pgOptions())
	if s.pass != nil {
		env = append(env, "PGPASSFILE=/proc/self/fd/3")
	}
	return env
}

// wait returns once the child has ended, which it is made to do if it takes too long. Unless it exited with 0, the error holds the last that it said.
func (c *child) wait() error {
	c.once.Do(func() {
		late := time.AfterFunc(c.patience, func() { c.cmd.Process.Kill() })
		err := c.cmd.Wait()
		late.Stop()
		c.said.flush()
		if err != nil {
			c.err = fmt.Errorf("%s failed: %w%s", c.name, err, c.said.tail())
		}
	})
	return c.err
}

// kill ends the child.
func (c *child) kill() {
	c.cmd.Process.Kill()
	c.wait()
}

// pipe returns both ends of a large pipe.
func pipe() (r, w *os.File, err error) {
	r, w, err = os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	if conn, err := w.SyscallConn(); err == nil {
		// A smaller pipe is only slower.
		conn.Control(func(fd uintptr) { unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
	}
	return r, w, nil
}

const (
	keptLines = 10
	maxLine   = 2 << 10 // bytes; what is longer is cut
)

// A lineWriter passes whole lines on and remembers the last few.
type lineWriter struct {
	w    io.Writer
	line []byte // begun, without its end
	last []string
}

func (l *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		part, rest, ended := bytes.Cut(p, []byte("\n"))
		l.line = append(l.line, part[:min(len(part), maxLine-len(l.line))]...)
		if ended {
			l.flush()
		}
		p = rest
	}
	return n, nil
}

// flush ends a line that was begun.
func (l *lineWriter) flush() {
	if len(l.line) == 0 {
		return
	}
	text := strings.ToValidUTF8(string(l.line), "\uFFFD")
	l.line = l.line[:0]
	if len(l.last) == keptLines {
		l.last = l.last[1:]
	}
	l.last = append(l.last, text)
	// Whoever listens may have ended; that is no reason to fail the dump.
	io.WriteString(l.w, text+"\n")
}

// tail returns the remembered lines, to be put behind an error.
func (l *lineWriter) tail() string {
	if len(l.last) == 0 {
		return ""
	}
	return ": " + strings.Join(l.last, "; ")
}
