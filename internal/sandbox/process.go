package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startLimit bounds how long a server may take until it answers.
const startLimit = 60 * time.Second

// stopGrace is how long a server may take to end by itself before it is
// killed.
const stopGrace = 10 * time.Second

// errPortTaken tells that another process took the free port first.
var errPortTaken = errors.New("port was taken meanwhile")

// process is a server in the foreground: the leader of its own process group,
// so that a terminal's Ctrl-C doesn't reach it, and ended by the kernel should
// this process die.
type process struct {
	cmd  *exec.Cmd
	log  string         // file that holds what the server says
	quit syscall.Signal // asks the server to end

	done chan struct{} // closed once the server has ended
	once sync.Once
}

// startProcess runs cmd with its output appended to the file log.
func startProcess(cmd *exec.Cmd, log string, quit syscall.Signal) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = quit
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, log: log, quit: quit, done: make(chan struct{})}
	go func() {
		cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// await polls ready until it is true. It fails where the server ends, ctx is
// done, or startLimit has passed.
func (p *process) await(ctx context.Context, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if ready() {
			return nil
		}
		select {
		case <-p.done:
			return p.failure()
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w; it said: %s", ctx.Err(), tail(p.log))
		case <-tick.C:
		}
	}
}

// failure tells why a server ended that should not have.
func (p *process) failure() error {
	said := tail(p.log)
	if strings.Contains(said, "in use") {
		return fmt.Errorf("%w: %s", errPortTaken, said)
	}
	return fmt.Errorf("ended with %v: %s", p.cmd.ProcessState, said)
}

// stop ends the server and all its descendants, in other sessions too, and
// returns once the server itself is gone. Further calls do nothing.
func (p *process) stop() error {
	var err error
	p.once.Do(func() {
		family := descendants(p.cmd.Process.Pid)
		p.cmd.Process.Signal(p.quit)
		select {
		case <-p.done:
		case <-time.After(stopGrace):
			err = fmt.Errorf("%s did not end by itself: %s", filepath.Base(p.cmd.Path), tail(p.log))
		}
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
		for _, d := range family {
			d.kill()
		}
	})
	return err
}

// descendant is a process below a server. Its start time tells it from a
// later one of the same number.
type descendant struct {
	pid   int
	start string
}

// kill ends d where it is still the same process.
func (d descendant) kill() {
	if _, start, ok := stat(d.pid); ok && start == d.start {
		syscall.Kill(d.pid, syscall.SIGKILL)
	}
}

// descendants lists the processes below root: sshd puts each connection into
// a session of its own, which a signal to the process group does not reach.
func descendants(root int) []descendant {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	children := make(map[int][]descendant)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if parent, start, ok := stat(pid); ok {
			children[parent] = append(children[parent], descendant{pid, start})
		}
	}
	all := children[root]
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i].pid]...)
	}
	return all
}

// stat reads the parent and the start time of a process that has not ended.
func stat(pid int) (parent int, start string, ok bool) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, "", false
	}
	// pid (name) state ppid …, the start time as field 22; a name may hold
	// spaces and parentheses.
	_, rest, _ := lastCut(string(data), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 20 || fields[0] == "Z" {
		return 0, "", false
	}
	parent, err = strconv.Atoi(fields[1])
	return parent, fields[19], err == nil
}

func lastCut(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// tail returns the last lines of a log.
func tail(log string) string {
	const limit = 2000
	data, err := os.ReadFile(log)
	if err != nil {
		return err.Error()
	}
	if len(data) > limit {
		data = data[len(data)-limit:]
	}
	return strings.TrimSpace(string(data))
}

// onFreePort calls start with a port that was free a moment ago, and again
// with another one where somebody else was faster.
func onFreePort(start func(port int) error) error {
	for tries := 0; ; tries++ {
		port, err := freePort()
		if err != nil {
			return err
		}
		if err = start(port); !errors.Is(err, errPortTaken) || tries == 5 {
			return err
		}
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// find returns the absolute path of a program, also where it stands outside
// an ordinary user's PATH. The error names the Debian package that has it.
func find(program, debian string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return filepath.Abs(path)
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path, nil
		}
	}
	return "", missing(program, debian)
}

func missing(program, debian string) error {
	return fmt.Errorf("%s not found: install the Debian package %s", program, debian)
}
