package lease

import (
	"bytes"
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// A Process is what tells a process from every other one, as far as another on its machine can look that up. Machine is
// empty where it can't.
type Process struct {
	Host    string `json:"host"`
	PID     int    `json:"pid"`
	Machine string `json:"machine,omitempty"` // the boot, and the namespaces in which the PID and the start mean something
	Start   uint64 `json:"start,omitempty"`   // when the process began, as /proc has it
}

// ThisProcess describes the process that calls it.
func ThisProcess() Process {
	p := Process{PID: os.Getpid()}
	p.Host, _ = os.Hostname()
	// A /proc of another PID namespace names other processes by our numbers.
	if self, err := os.Readlink("/proc/self"); err != nil || self != strconv.Itoa(p.PID) {
		return p
	}
	start, alive := startOf(p.PID)
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	pids, err2 := os.Readlink("/proc/self/ns/pid")
	clock, err3 := os.Readlink("/proc/self/ns/time")
	if alive && start != 0 && errors.Join(err, err2, err3) == nil {
		p.Machine, p.Start = string(bytes.TrimSpace(boot))+" "+pids+" "+clock, start
	}
	return p
}

// Dead reports whether the process is known to have ended, seen from another one. In doubt it has not: an equal PID in
// another container says nothing.
func (p *Process) Dead(from *Process) bool {
	if p.Machine == "" || p.Machine != from.Machine || p.Host != from.Host || p.PID <= 0 {
		return false
	}
	start, alive := startOf(p.PID)
	return !alive || start != 0 && start != p.Start
}

// startOf returns when the process of a PID began, 0 where that can't be told, and whether there is one that runs.
func startOf(pid int) (start uint64, alive bool) {
	if err := unix.Kill(pid, 0); err != nil {
		return 0, err != unix.ESRCH // EPERM: it is another user's, and there
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, true
	}
	// The second field is the program's name in parentheses, and may hold anything; the third is the state, the 22nd the start.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return 0, true
	}
	start, err = strconv.ParseUint(string(fields[19]), 10, 64)
	if err != nil {
		return 0, true
	}
	ended := fields[0][0] == 'Z' || fields[0][0] == 'X' // nobody has asked yet how it ended
	return start, !ended
}
