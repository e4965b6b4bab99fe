package postgres

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The sessions of a Server are named
//
//	permafrost-BOOT-NAMESPACE-PID-START-RANDOM
//
// after the process that they are for: the first eight digits of the kernel's boot ID, its namespace of process numbers, its number
// in there, and when it started. A later process on the same machine can tell whether that one is dead. That of pg_dump has
// dumpSession behind it.

var sessionOfDump = regexp.MustCompile(`^permafrost-([0-9a-f]{8})-([0-9]+)-([0-9]+)-([0-9]+)-[A-Z2-7]{4}` + dumpSession + `$`)

// newSession returns a name for the sessions of a Server of this process.
func newSession() (string, error) {
	boot, namespace, err := machine()
	if err != nil {
		return "", err
	}
	start, err := startOf(os.Getpid())
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("permafrost-%s-%d-%d-%s-%s", boot, namespace, os.Getpid(), start, rand.Text()[:4]), nil
}

// orphaned reports whether a session is a dump whose process is known to be dead.
func orphaned(session string) bool {
	m := sessionOfDump.FindStringSubmatch(session)
	if m == nil {
		return false
	}
	boot, namespace, err := machine()
	if err != nil || m[1] != boot || m[2] != strconv.FormatUint(namespace, 10) {
		return false // another machine's, or another container's: it may live
	}
	pid, err := strconv.Atoi(m[3])
	if err != nil {
		return false
	}
	start, err := startOf(pid)
	return os.IsNotExist(err) || err == nil && start != m[4]
}

// machine tells this boot of the kernel, and the namespace of process numbers.
func machine() (boot string, namespace uint64, err error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(id) < 8 {
		return "", 0, fmt.Errorf("asking the kernel for its boot ID: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return "", 0, fmt.Errorf("asking the kernel for the namespace of processes: %w", err)
	}
	return string(id[:8]), st.Ino, nil
}

// startOf returns when a process started, in the kernel's own measure.
func startOf(pid int) (string, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", err
	}
	// pid (name) state …; a name may hold spaces and parentheses. The start is the 22nd field.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 20 {
		return "", fmt.Errorf("process %d has no start", pid)
	}
	return fields[19], nil
}
