package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/cmd/permafrost/internal/place"
	"permafrost/internal/hostile"
)

var hostileSettings = flag.Int("settings", 60, "hostile settings that TestHostileSettings makes snapshots by")

// netVar makes a process of TestHostileSettings one with a network of its own, in which no name can be looked up. It is how many
// settings there are.
const netVar = "PERMAFROST_TEST_NET"

// Whatever Mastodon's user writes into his settings: a snapshot by root ends soon, with a code that is documented, and opens nothing
// that is root's.
func TestHostileSettings(t *testing.T) {
	if n, err := strconv.Atoi(os.Getenv(netVar)); err == nil {
		loopbackUp(t)
		testHostileSettings(t, n)
		return
	}
	t.Parallel()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=2h")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", netVar, *hostileSettings))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// loopbackUp lets the process reach itself.
func loopbackUp(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err == nil {
		lo.SetUint16(unix.IFF_UP)
		err = unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func testHostileSettings(t *testing.T, n int) {
	l := newLair(t)
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	media := filepath.Join(l.live, "public", "system")
	must(os.MkdirAll(media, 0o755), os.Chown(filepath.Dir(media), nobody, nobody), os.Chown(media, nobody, nobody))
	l.write(filepath.Join(media, "a"), "a", nobody)
	paths := []string{"/dev/zero", "/dev/null", "/nowhere", media, l.live, l.root, "public/system"}
	for name, to := range map[string]string{"key": l.root + "/key", "cert": l.root + "/cert", "dir": l.root, "cwd": "/proc/self/cwd", "rootdir": "/proc/self/root" + l.root, "self": "self",
		"endless": "/dev/zero"} {
		link := filepath.Join(l.live, name)
		must(os.Symlink(to, link), os.Lchown(link, nobody, nobody))
		paths = append(paths, link, link+"/key", filepath.Join(l.root, name))
	}
	fifo := filepath.Join(l.live, "fifo")
	must(unix.Mkfifo(fifo, 0o666))
	closed, err := net.Listen("unix", filepath.Join(l.root, ".s.PGSQL.5432"))
	must(err, os.Chmod(filepath.Join(l.root, ".s.PGSQL.5432"), 0o777), os.Chmod(l.root, 0o700))
	defer closed.Close()
	paths = append(paths, fifo, "/proc/self/cwd/key", "/proc/self/fd/1", filepath.Join(l.root, ".s.PGSQL.5432"))
	t.Chdir(l.root)
	opened := watchOpens(t, l.root)
	codes := make(map[int]int)
	for seed := range n {
		r := rand.New(rand.NewPCG(uint64(seed), 8))
		l.write(filepath.Join(l.live, ".env.production"), string(hostile.Settings(r, paths, []string{fmt.Sprintf("127.0.0.1:%d", l.server.port), "127.0.0.1:1"})), nobody)
		codes[snapshotInProcess(t, l)]++
		if names := opened(); len(names) > 0 {
			t.Errorf("root opened %q", names)
		}
		if t.Failed() {
			env, _ := os.ReadFile(filepath.Join(l.live, ".env.production"))
			t.Fatalf("seed %d: %.2000q", seed, env)
		}
	}
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); m.HeapSys > 1<<30 {
		t.Errorf("%d MiB were taken", m.HeapSys>>20)
	}
	t.Logf("%d settings; exit codes %v", n, codes)
}

// snapshotInProcess makes a snapshot as the program would, in this process, and returns the exit code.
func snapshotInProcess(t *testing.T, l *lair) int {
	t.Helper()
	var out, errs bytes.Buffer
	args := []string{"snapshot", "--live", l.live, "-r", l.repo, "--config", "/dev/null", "--writer-key", l.home + "/writer.key", "--state-dir", l.home + "/state", "--cache-dir", l.home + "/cache"}
	begun := time.Now()
	done := make(chan int, 1)
	go func() { done <- run(args, strings.NewReader(""), &out, &errs, place.Options{}) }()
	select {
	case code := <-done:
		checkTerminal(t, args, result{code, out.String(), errs.String()})
		if !strings.Contains("\n"+helpExitCodes, fmt.Sprintf("\n  %-4d ", code)) || code == exitDone {
			t.Errorf("code %d after %v\n%s%s", code, time.Since(begun), out.String(), errs.String())
		}
		return code
	case <-time.After(2 * time.Minute):
		env, _ := os.ReadFile(filepath.Join(l.live, ".env.production"))
		stacks := make([]byte, 1<<20)
		t.Fatalf("it hangs: %.2000q\n%s", env, stacks[:runtime.Stack(stacks, true)])
		return 0
	}
}

// watchOpens returns a function that tells what was opened in a directory of root's since it was asked last, the directory
// itself included.
func watchOpens(t *testing.T, dir string) func() []string {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err == nil {
		_, err = unix.InotifyAddWatch(fd, dir, unix.IN_OPEN|unix.IN_ACCESS|unix.IN_MODIFY|unix.IN_ATTRIB|unix.IN_CREATE)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return func() (names []string) {
		buf := make([]byte, 64<<10)
		n, _ := unix.Read(fd, buf)
		for n >= unix.SizeofInotifyEvent {
			size := unix.SizeofInotifyEvent + int(buf[12]) + int(buf[13])<<8
			names = append(names, strings.TrimRight(string(buf[unix.SizeofInotifyEvent:size]), "\x00")+fmt.Sprintf(" %x", buf[4:8]))
			buf, n = buf[size:], n-size
		}
		return names
	}
}
