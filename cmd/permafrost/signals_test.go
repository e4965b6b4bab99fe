package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// promptly is within what a process that ends at once may take on a machine with much to do.
const promptly = 5 * time.Second

// grace is what a command has, after a first signal, to end in good order.
const grace = 10 * time.Second

// stuck returns a command that hangs where no context reaches it: it writes to a full pipe.
func stuck(t *testing.T) *command {
	t.Helper()
	unheard := newCommand(t, "completion", "bash")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096); err != nil {
		t.Fatal(err)
	}
	unheard.Stdout = w
	return unheard
}

// beginStuck starts a command and waits until it hangs: for a second it takes no time of a processor.
func beginStuck(t *testing.T, c *command) *running {
	t.Helper()
	r := &running{t: t, c: c, ended: make(chan struct{})}
	if c.Stdout == nil {
		c.Stdout = &r.out
	}
	c.Stderr = &r.errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.ended)
		c.Wait()
	}()
	t.Cleanup(func() {
		c.Process.Kill()
		<-r.ended
	})
	idle, last := 0, ""
	await(t, "command that hangs", func() bool {
		stat, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(c.Process.Pid), "stat"))
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 13 {
			return true
		}
		used := fields[11] + "+" + fields[12]
		if idle++; used != last {
			idle, last = 0, used
		}
		return idle > 200
	})
	if !r.runs() {
		t.Fatalf("%v does not hang: %v\n%s", c.Args[1:], c.ProcessState, r.errs.String())
	}
	return r
}

// A second signal ends a command at once, wherever it hangs; one alone ends it once the time for good order is over.
func TestSignalsEndWhatHangs(t *testing.T) {
	t.Parallel()
	t.Run("two signals", func(t *testing.T) {
		c := stuck(t)
		r := beginStuck(t, c)
		begin := time.Now()
		signalTo(t, c.Process.Pid, unix.SIGTERM)
		for r.runs() && time.Since(begin) < promptly { // the same signal may be delivered once for two
			unix.Kill(c.Process.Pid, unix.SIGTERM)
			time.Sleep(10 * time.Millisecond)
		}
		got := r.must(exitInterrupted)
		if took := time.Since(begin); took > promptly || !strings.Contains(got.stderr, "a second signal came") {
			t.Errorf("it took %v: %q", took, got.stderr)
		}
	})
	t.Run("one signal", func(t *testing.T) {
		t.Parallel()
		c := stuck(t)
		r := beginStuck(t, c)
		begin := time.Now()
		signalTo(t, c.Process.Pid, unix.SIGTERM)
		got := r.must(exitInterrupted)
		if took := time.Since(begin); took > grace+promptly || took < grace || !strings.Contains(got.stderr, "did not end within 10s") {
			t.Errorf("it took %v: %q", took, got.stderr)
		}
	})
}

// A command that is told to say where it is does so and ends, and shows nothing of its memory.
func TestAbortsAreTraced(t *testing.T) {
	t.Parallel()
	for _, sig := range []unix.Signal{unix.SIGQUIT, unix.SIGABRT} {
		c := stuck(t)
		r := beginStuck(t, c)
		signalTo(t, c.Process.Pid, sig)
		said := r.must(exitInterrupted).stderr
		for _, want := range []string{"(*app).execute(...)\n\t", "created by permafrost/cmd/permafrost/internal/process.Interruptible in goroutine 1\n"} {
			if !strings.Contains(said, want) {
				t.Errorf("%v: it does not say %q but\n%s", sig, want, said)
			}
		}
		if !strings.HasSuffix(said, ": "+unix.SignalName(sig)+" came\n") || argumentWords.MatchString(said) || strings.Contains(said, "interrupted\n") {
			t.Errorf("%v: it says\n%s", sig, said)
		}
	}
}

// What nohup has made the program ignore it ignores.
func TestNohup(t *testing.T) {
	t.Parallel()
	c := stuck(t)
	c.Args = append([]string{"sh", "-c", `trap "" HUP; exec "$0" "$@"`, c.Path}, c.Args[1:]...)
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	c.Path = sh
	r := beginStuck(t, c)
	for range 3 {
		signalTo(t, c.Process.Pid, unix.SIGHUP)
	}
	time.Sleep(time.Second)
	if !r.runs() {
		t.Fatalf("it has ended: %v", c.ProcessState)
	}
	for r.runs() {
		unix.Kill(c.Process.Pid, unix.SIGTERM)
		time.Sleep(10 * time.Millisecond)
	}
	if got := r.must(exitInterrupted); !strings.Contains(got.stderr, "interrupted") {
		t.Errorf("%q", got.stderr)
	}
}

// A server that says nothing any more does not keep a snapshot that was told to end, and what that leaves locks nobody out.
func (s *site) testStalledServer(t *testing.T) {
	s = s.on(t)
	place := filepath.Join(s.SSHD.Root, "repo", "leases")
	r := start(t, s.command("snapshot", "--limit-upload", "1K"))
	await(t, "lease", func() bool {
		leases, _ := os.ReadDir(place)
		return len(leases) > 0 || !r.runs()
	})
	halted := descendants(s.SSHD.PID)
	for _, pid := range halted {
		unix.Kill(pid, unix.SIGSTOP)
	}
	begin := time.Now()
	signalTo(t, r.c.Process.Pid, unix.SIGTERM)
	r.must(exitInterrupted)
	if took := time.Since(begin); took > grace+promptly {
		t.Errorf("it took %v", took)
	}
	for _, pid := range halted {
		unix.Kill(pid, unix.SIGKILL)
	}
	s.run(exitDone, "snapshot")
	s.run(exitDone, "prune", "-i", s.recovery)
}
