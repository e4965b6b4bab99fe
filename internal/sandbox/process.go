package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// stop asks the server to end, and returns once it has; what it left in its
// process group is killed. Further calls do nothing.
func (p *process) stop() error {
	var err error
	p.once.Do(func() {
		p.cmd.Process.Signal(p.quit)
		select {
		case <-p.done:
		case <-time.After(stopGrace):
			err = fmt.Errorf("%s did not end by itself: %s", filepath.Base(p.cmd.Path), tail(p.log))
		}
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	})
	return err
}

// killTree kills the server and every process below it, whatever session or
// process group they are in. First they are all halted: a process that runs
// could fork another while this one looks.
func (p *process) killTree() error {
	var err error
	p.once.Do(func() {
		root := p.cmd.Process.Pid
		deadline := time.Now().Add(stopGrace)
		halted := make(map[int]bool)
		var tree []int
		for {
			calm := halt(append(tree, root), halted)
			now := descendants(root)
			if calm && slices.Equal(tree, now) {
				break
			}
			if tree = now; time.Now().After(deadline) {
				err = fmt.Errorf("%s could not be halted", filepath.Base(p.cmd.Path))
				break
			}
			time.Sleep(time.Millisecond)
		}
		// All that were ever halted, not just those of the last look: one whose
		// parent was just ending is nobody's child now, and halted for good.
		for pid := range halted {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		<-p.done
	})
	return err
}

// halt tells whether all the processes are halted, and halts the others. It
// notes every one.
func halt(pids []int, halted map[int]bool) (all bool) {
	all = true
	for _, pid := range pids {
		if _, state, ok := stat(pid); ok && state != "T" {
			syscall.Kill(pid, syscall.SIGSTOP)
			all = false
		}
		halted[pid] = true
	}
	return all
}

// descendants lists the processes below root.
func descendants(root int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	children := make(map[int][]int)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if parent, _, ok := stat(pid); ok {
			children[parent] = append(children[parent], pid)
		}
	}
	all := children[root]
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// stat reads the parent and the state of a process that has not ended.
func stat(pid int) (parent int, state string, ok bool) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, "", false
	}
	// pid (name) state ppid …; a name may hold spaces and parentheses.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 2 || fields[0] == "Z" {
		return 0, "", false
	}
	parent, err = strconv.Atoi(fields[1])
	return parent, fields[0], err == nil
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
