package main

import (
	"flag"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostile"
	"permafrost/internal/sandbox"
)

var intrusions = flag.Int("intrusions", 24, "into how many restores TestIntruder meddles")

// intruder is a user of this host without any right, and without a name.
const intruder = 54321

// intrudeVar is, for a process of that user, the directory that it may write.
const intrudeVar = "PERMAFROST_TEST_INTRUDE"

// newIntruderSite returns a site whose repository is a directory, with one snapshot.
func newIntruderSite(t *testing.T) *site {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test is about what root must not be led to: run it as root")
	}
	s := newSite(t, sandbox.Config{})
	s.repo = filepath.Join(s.home, "repository")
	s.init()
	s.run(exitDated, "snapshot", "--date", "2026-06-26")
	return s
}

// openDir returns a new directory that everybody can reach, below one of the same kind.
func openDir(t *testing.T, uid int) string {
	t.Helper()
	dir := t.TempDir()
	for at := dir; at != filepath.Clean(os.TempDir()); at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, uid, uid); err != nil {
		t.Fatal(err)
	}
	return dir
}

func fingerprint(t *testing.T, dir string) string {
	t.Helper()
	all, err := hostile.Fingerprint(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// An intrusion is a restore by root into what another user can change while it runs.
type intrusion struct {
	target string // below a directory of his
	root   bool   // made by root
	force  bool
}

var intrusionTargets = []intrusion{{target: "his"}, {target: "his", force: true}, {target: "new"}, {target: "new", force: true},
	{target: "a/b"}, {target: "roots", root: true}, {target: "roots/new", root: true, force: true}, {target: "roots", root: true, force: true}}

// A user who owns the directory that root restores into, or one above it, plants links and swaps directories for links while
// root restores. Nothing of root's is written, given away or changed.
func TestIntruder(t *testing.T) {
	t.Parallel()
	s := newIntruderSite(t)
	canary := openDir(t, 0)
	for name, mode := range map[string]fs.FileMode{"file": 0o644, "private": 0o600, "public-system/file": 0o644, "secrets/file": 0o600} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(canary, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(canary, name), []byte("root's\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	want := fingerprint(t, canary)
	his := openDir(t, intruder)
	stop := startIntruder(t, his, canary)
	chance := rand.New(rand.NewPCG(1, 2))
	codes := make(map[int]int)
	for n := range *intrusions {
		x := intrusionTargets[n%len(intrusionTargets)]
		r := s.intrude(his, n, x, chance)
		codes[r.code]++
		if got := fingerprint(t, canary); got != want {
			t.Fatalf("restore %d, %+v, changed what is root's: exit code %d\n%s\n%s\nwas\n%s\nis\n%s", n, x, r.code, r.stdout, r.stderr, want, got)
		}
		if r.code != exitDone && r.code != exitFailed && r.code != exitPartial {
			t.Fatalf("restore %d, %+v: exit code %d\n%s", n, x, r.code, r.stderr)
		}
	}
	if err := stop(); err != nil {
		t.Errorf("the intruder did not go on to the end: %v", err)
	}
	t.Logf("exit codes of %d restores: %v", *intrusions, codes)
}

// intrude restores into a directory in which the intruder is at work.
func (s *site) intrude(his string, n int, x intrusion, chance *rand.Rand) result {
	s.t.Helper()
	making := filepath.Join(s.t.TempDir(), "round")
	for _, d := range []struct {
		name string
		uid  int
	}{{"", intruder}, {"his", intruder}, {"roots", 0}} {
		path := filepath.Join(making, d.name)
		if err := os.Mkdir(path, 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.Chown(path, d.uid, d.uid); err != nil {
			s.t.Fatal(err)
		}
	}
	round := filepath.Join(his, strconv.Itoa(n))
	if x.force {
		round += "-force"
	}
	if err := os.Rename(making, round); err != nil {
		s.t.Fatal(err)
	}
	defer os.RemoveAll(round)
	args := []string{"restore", "-i", s.recovery, "--snapshot", "latest", "--target", filepath.Join(round, x.target)}
	if x.force {
		args = append(args, "--force")
	}
	for _, c := range []string{"secrets", "media", "redis"}[chance.IntN(2):] {
		args = append(args, "--component", c)
	}
	first := s.command(args...).run(s.t)
	// Once more, into what that left and he has meddled with.
	args = append(args, "--overwrite", []string{"always", "if-changed", "never"}[chance.IntN(3)])
	if chance.IntN(2) == 0 && slices.Contains(args, "media") {
		args = append(args, "--delete")
	}
	if again := s.command(args...).run(s.t); first.code == exitDone {
		return again
	}
	return first
}

// startIntruder has the intruder meddle in the directories that appear below his, and returns what stops him.
func startIntruder(t *testing.T, his, canary string) (stop func() error) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", his, canary)
	cmd.Env = []string{intrudeVar + "=1", endAtOnce}
	cmd.Dir, cmd.Stderr = "/", os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: intruder, Gid: intruder}, Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() error {
		in.Close()
		return cmd.Wait()
	}
}

// intrude is the intruder: in each directory that appears below his he does all that could lead root elsewhere, until standard
// input ends.
func intrude(his, canary string) {
	besieged := make(map[string]bool)
	go func() {
		for {
			entries, _ := os.ReadDir(his)
			for _, e := range entries {
				if dir := filepath.Join(his, e.Name()); !besieged[dir] {
					besieged[dir] = true
					besiege(dir, canary)
				}
			}
			time.Sleep(time.Millisecond)
		}
	}()
	os.Stdin.Read(make([]byte, 1))
}

// besiege meddles in a directory until it is gone: now more, now less, so that some restores come farther than others.
func besiege(dir, canary string) {
	names := []string{"his/public-system", "his/secrets", "a/b", "his", "new", "a", "roots", "roots/new"}
	n, _ := strconv.Atoi(strings.TrimSuffix(filepath.Base(dir), "-force"))
	for _, name := range names[:[]int{0, 3, len(names)}[n%3]] {
		evil := filepath.Join(dir, "evil-"+strings.ReplaceAll(name, "/", "-"))
		os.Symlink(canary, evil)
		go swap(filepath.Join(dir, name), evil)
	}
	go plant(filepath.Join(dir, "his"), canary, strings.HasSuffix(dir, "force"))
}

// swap makes a directory a link, and a directory again, as often as it can.
func swap(dir, evil string) {
	for {
		if _, err := os.Lstat(evil); err != nil {
			return
		}
		err := unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, evil, unix.RENAME_EXCHANGE)
		if err != nil {
			time.Sleep(50 * time.Microsecond)
			continue
		}
		time.Sleep(rand.N(2 * time.Millisecond))
	}
}

// plant puts links where a restore will write, as soon as it has begun, or at once.
func plant(target, canary string, atOnce bool) {
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return
	}
	defer unix.Close(watch)
	unix.InotifyAddWatch(watch, target, unix.IN_CREATE|unix.IN_MOVE|unix.IN_DELETE_SELF)
	for buf := make([]byte, 4096); ; {
		if !atOnce {
			if _, err := unix.Read(watch, buf); err != nil {
				return
			}
		}
		atOnce = false
		for _, link := range [][2]string{{"public-system", "."}, {"RESTORE.md", "file"}, {"env.production.partial", "file"}, {"SHA256SUMS", "private"},
			{"env.production", "file"}, {"redis-dump.rdb.partial", "private"}, {"SHA256SUMS.partial", "new"}, {"secrets", "secrets"},
			{"mastodon_production.dump.partial", "private"}, {"public-system/accounts", "."}, {"public-system/cache", "public-system"}} {
			os.Symlink(filepath.Join(canary, link[1]), filepath.Join(target, link[0]))
		}
		if _, err := os.Lstat(target); err != nil {
			return
		}
	}
}

// Root is given no commands that read what another user can change: that user would swap the files for links to root's, or write
// commands of his own.
func TestNoCommandsFromUsersDirectory(t *testing.T) {
	t.Parallel()
	s := newIntruderSite(t)
	for _, uid := range []int{0, intruder} {
		target := filepath.Join(openDir(t, uid), "restored")
		r := s.run(exitDone, "restore", "-i", s.recovery, "--snapshot", "latest", "--target", target, "--component", "secrets")
		page, err := os.ReadFile(filepath.Join(target, "RESTORE.md"))
		if err != nil {
			t.Fatal(err)
		}
		commands, goOn := strings.Contains(string(page), "```"), strings.Contains(r.stdout+r.stderr, "how to go on")
		warned := strings.Contains(r.stderr, "run nothing from "+target)
		if roots := uid == 0; commands != roots || goOn != roots || warned == roots {
			t.Errorf("a directory of user %d's: commands %v, told to go on %v, warned %v\n%s\n%s", uid, commands, goOn, warned, r.stderr, page)
		}
	}
}
