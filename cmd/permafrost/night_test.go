package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/internal/keeper"
	"permafrost/internal/sandbox"
)

// A site is a Mastodon instance, the server that its backups go to, and the machine that permafrost runs on.
type site struct {
	*sandbox.Instance
	t        *testing.T
	home     string
	repo     string // address
	recovery string
}

func newSite(t *testing.T, c sandbox.Config) *site {
	t.Helper()
	c.Statuses, c.Files = cmp.Or(c.Statuses, 300), cmp.Or(c.Files, 60)
	inst, err := sandbox.Start(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := inst.Stop(); err != nil {
			t.Error(err)
		}
	})
	home := t.TempDir()
	return &site{inst, t, home, "sftp:backup.example:" + inst.SSHD.Root + "/repo", filepath.Join(home, "recovery.key")}
}

func (s *site) command(args ...string) *command {
	c := newCommand(s.t, args...)
	c.home, c.Dir = s.home, s.home
	c.Env = append(s.Env(), runMain+"=1", endAtOnce, "TZ=UTC", "PERMAFROST_CONFIG="+filepath.Join(s.home, "permafrost.toml"),
		"PERMAFROST_REPOSITORY="+s.repo,
		"PERMAFROST_STATE_DIR="+filepath.Join(s.home, "state"), "PERMAFROST_CACHE_DIR="+filepath.Join(s.home, "cache"),
		"PERMAFROST_WRITER_KEY="+filepath.Join(s.home, "writer.key"))
	return c
}

// exitDated is the exit code of a snapshot whose date a test has made up: it can't be, and the snapshot is in doubt for it.
const exitDated = exitSuspect

// run runs a command that must end with this exit code.
func (s *site) run(code int, args ...string) result {
	s.t.Helper()
	r := s.command(args...).run(s.t)
	if r.code != code {
		s.t.Fatalf("permafrost %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.stdout, r.stderr)
	}
	return r
}

// init makes the repository and the configuration.
func (s *site) init() {
	s.t.Helper()
	config := "live = \"" + s.Live + "\"\n[keep]\nlast = 1\n"
	if err := os.WriteFile(filepath.Join(s.home, "permafrost.toml"), []byte(config), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.run(exitDone, "init", "--recovery-key", s.recovery)
}

// decode reads the lines of JSON that bear a message type.
func decode[T any](t *testing.T, text, messageType string) (found []T) {
	t.Helper()
	for line := range strings.Lines(text) {
		var head struct {
			MessageType string `json:"message_type"`
		}
		if err := json.Unmarshal([]byte(line), &head); err != nil || head.MessageType == "" {
			t.Fatalf("not a line of JSON with a message_type: %q (%v)", line, err)
		}
		if head.MessageType == messageType {
			var v T
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatal(err)
			}
			found = append(found, v)
		}
	}
	return found
}

// Two nights of an instance, over SFTP: what is stored is listed, restored and forgotten.
func TestNights(t *testing.T) {
	t.Parallel()
	s := newSite(t, sandbox.Config{Sidekiq: true})
	s.init()
	first := decode[keeper.Snapshot](t, s.run(exitDated, "snapshot", "--date", "2026-06-26", "--tag", "first", "--json").stdout, "summary")
	if len(first) != 1 || first[0].Date != "2026-06-26" || first[0].Size < 1<<20 || !slices.Equal(first[0].Tags, []string{"first"}) {
		t.Fatalf("summary %+v", first)
	}
	writeMedia(t, filepath.Join(s.System(), "site_uploads", "new.txt"), []byte("second night\n"))
	second := s.run(exitDated, "snapshot", "--date", "2026-06-27")
	if !strings.Contains(second.stdout, ", 2026-06-27: ") || strings.Contains(second.stderr, "log head ") {
		t.Errorf("stdout\n%s\nstderr\n%s", second.stdout, second.stderr)
	}
	check := s.run(exitDone, "check")
	_, head, _ := strings.Cut(check.stderr, "log head ")
	head, what, _ := strings.Cut(head, " ")
	if !strings.Contains(what, "finds a storage that was set back to an older state") {
		t.Errorf("check says %s", check.stderr)
	}
	s.run(exitDone, "check", "--head", head)
	t.Run("list", s.testList)
	t.Run("find", s.testFind)
	t.Run("restore", s.testRestore)
	t.Run("dump", s.testDump)
	t.Run("sealed", s.testSealed)
	t.Run("forget", s.testForget)
	t.Run("locked", s.testLocked)
	t.Run("interrupted", s.testInterrupted)
	t.Run("patterns", s.testPatterns)
	t.Run("unreported", s.testUnreported)
	t.Run("stalled server", s.testStalledServer)
	t.Run("partial", s.testPartial)
	t.Run("damage", s.testDamage)
}

func (s *site) testList(t *testing.T) {
	lines := s.snapshots(t)
	if len(lines) != 2 || lines[1].Date != "2026-06-27" || lines[1].Stored*4 > lines[0].Stored {
		t.Errorf("snapshots %+v", lines)
	}
	if got := decode[keeper.Snapshot](t, s.run(exitDone, "snapshots", "--json", "--tag", "first").stdout, "snapshot"); len(got) != 1 {
		t.Errorf("with the tag there are %d", len(got))
	}
	table := s.run(exitDone, "snapshots").stdout
	if !strings.HasPrefix(table, "ID ") || !strings.Contains(table, lines[0].ID[:8]) || !strings.Contains(table, "2 snapshots") {
		t.Errorf("table\n%s", table)
	}
	show := s.run(exitDone, "show").stdout
	for _, want := range []string{lines[1].ID, "secrets", "postgres", "redis", "sidekiq", "media", "LSN"} {
		if !strings.Contains(show, want) {
			t.Errorf("show does not tell %s:\n%s", want, show)
		}
	}
	if got := decode[struct{ Instance string }](t, s.run(exitDone, "show", lines[0].ID[:6], "--json").stdout, "manifest"); got[0].Instance == "" {
		t.Error("the manifest has no instance")
	}
	for spec, there := range map[string]bool{"latest": true, "2026-06-26": false} {
		code := map[bool]int{true: exitDone, false: exitFailed}[there]
		if r := s.run(code, "ls", spec, "media/site_uploads/new.txt"); there && r.stdout != "media/site_uploads/new.txt\n" {
			t.Errorf("ls %s: %q", spec, r.stdout)
		}
	}
	all := s.run(exitDone, "ls", "latest", "--long").stdout
	for _, want := range []string{" secrets" + s.Live + "/.env.production\n", " postgres\n", " redis\n", " sidekiq\n", " media\n", " media/accounts\n"} {
		if !strings.Contains(all, want) {
			t.Errorf("ls does not list %q:\n%s", want, all)
		}
	}
}

func (s *site) testFind(t *testing.T) {
	latest := s.snapshots(t)[1]
	for _, pattern := range []string{"new.txt", "n*.tx?", "media/*/new.txt"} {
		if r := s.run(exitDone, "find", pattern); r.stdout != latest.ID[:8]+" 2026-06-27  media/site_uploads/new.txt\n" {
			t.Errorf("find %s: %q", pattern, r.stdout)
		}
	}
	s.run(exitFailed, "find", "new.txt", "--in", "latest~1")
	s.run(exitUsage, "find", "[")
	r := s.run(exitDone, "diff", "latest~1", "latest")
	if !strings.HasPrefix(r.stdout, "+ media/site_uploads/new.txt\nmedia: 1 added, 0 removed, 0 modified,") {
		t.Errorf("diff says\n%s", r.stdout)
	}
	r = s.run(exitDone, "diff", "latest", "latest~1", "--json", "--metadata")
	sum := decode[keeper.Compared](t, r.stdout, "summary")[0]
	if sum.Removed != 1 || sum.Metadata != 1 || sum.RemovedBytes != int64(len("second night\n")) {
		t.Errorf("the way back: %+v", sum)
	}
}

func (s *site) testDump(t *testing.T) {
	if r := s.run(exitDone, "dump", "-i", s.recovery, "latest", "postgres"); !strings.HasPrefix(r.stdout, "PGDMP") {
		t.Errorf("the dump begins with %.8q", r.stdout)
	}
	if r := s.run(exitDone, "dump", "-i", s.recovery, "latest", "sidekiq"); !strings.HasPrefix(r.stdout, "REDIS") {
		t.Errorf("the dump begins with %.8q", r.stdout)
	}
	if r := s.run(exitDone, "dump", "-i", s.recovery, "latest", "media/site_uploads/new.txt"); r.stdout != "second night\n" {
		t.Errorf("got %q", r.stdout)
	}
	if r := s.run(exitDone, "dump", "-i", s.recovery, "latest", "secrets"); !strings.Contains(r.stdout, sandbox.Markers.Secret) {
		t.Error("the secret is not in the secrets")
	}
}

// The host's own key reads no content back.
func (s *site) testSealed(t *testing.T) {
	for _, args := range [][]string{
		{"dump", "latest", "secrets"},
		{"restore", "--snapshot", "latest", "--target", "stolen"},
		{"key", "add", "owner", "age1", "--name", "x"},
		{"key", "rotate"},
	} {
		if r := s.run(exitWrongKey, args...); r.stdout != "" || !strings.Contains(r.stderr, "owner key") {
			t.Errorf("%v: stdout %.40q, stderr %q", args, r.stdout, r.stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(s.home, "stolen")); err == nil {
		t.Error("a target was made")
	}
}

// The table [keep] is the policy unless the command line has one.
func (s *site) testForget(t *testing.T) {
	type decision struct {
		Date    string
		Keep    bool
		Reasons []string
	}
	// These nights are dated long before they were made.
	doubted := s.run(exitDone, "forget", "--dry-run", "--json")
	dry := decode[decision](t, doubted.stdout, "decision")
	if len(dry) != 2 || dry[0].Keep || !dry[1].Keep || dry[1].Reasons[0] != "looks wrong, kept beside the sound ones: the newest" {
		t.Errorf("while they are in doubt: %+v", dry)
	}
	told := decode[struct{ Doubts []keeper.Doubt }](t, doubted.stdout, "suspect")
	if len(told) != 2 || !strings.HasPrefix(told[0].Doubts[0].Text, "it is dated 2026-06-26, but was made on ") {
		t.Errorf("forget tells of %+v", told)
	}
	nights := s.snapshots(t)
	s.run(exitDone, "confirm", nights[0].ID[:12], nights[1].ID[:8])
	if dry = decode[decision](t, s.run(exitDone, "forget", "--dry-run", "--json").stdout, "decision"); dry[0].Keep || dry[1].Reasons[0] != "the newest" {
		t.Errorf("by the configuration: %+v", dry)
	}
	given := decode[decision](t, s.run(exitDone, "forget", "--dry-run", "--json", "--keep-tag", "first").stdout, "decision")
	if !given[0].Keep || given[1].Keep || given[0].Reasons[0] != "tag first" {
		t.Errorf("by the command line: %+v", given)
	}
	if r := s.run(exitFailed, "forget", "--keep-tag", "nothing-has-it"); !strings.Contains(r.stderr, "would remove every snapshot") {
		t.Error(r.stderr)
	}
	r := s.run(exitDone, "forget", "--prune", "-i", s.recovery)
	if !strings.Contains(r.stdout, "1 snapshot kept, 1 removed") || !strings.Contains(r.stdout, "were needed") || strings.Contains(r.stderr, "looks wrong") {
		t.Errorf("forget says\n%s%s", r.stdout, r.stderr)
	}
	if lines := s.snapshots(t); len(lines) != 1 || lines[0].Date != "2026-06-27" {
		t.Errorf("left are %+v", lines)
	}
	s.run(exitDone, "scrub", "-r", filepath.Join(s.SSHD.Root, "repo"))
	head := strings.TrimSpace(s.run(exitDone, "snapshots", "--head").stdout)
	s.run(exitDone, "check", "--head", head)
	if r := s.run(exitDone, "check", "-i", s.recovery, "--read-data"); !strings.Contains(r.stdout, "no damage found") || !strings.Contains(r.stdout, "each blob verified") {
		t.Errorf("check says\n%s", r.stdout)
	}
}

// Damage is found and named.
func (s *site) testDamage(t *testing.T) {
	var packs []string
	err := filepath.WalkDir(filepath.Join(s.SSHD.Root, "repo", "packs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			packs = append(packs, path)
		}
		return err
	})
	if err != nil || len(packs) == 0 {
		t.Fatal(packs, err)
	}
	for _, path := range packs {
		flip(t, path)
	}
	r := s.run(exitDamage, "check", "--read-data", "--json")
	found := decode[struct{ Object string }](t, r.stdout, "damage")
	for _, path := range packs {
		object := "packs/" + filepath.Base(path)[:2] + "/" + filepath.Base(path)
		if !slices.ContainsFunc(found, func(d struct{ Object string }) bool { return d.Object == object }) {
			t.Errorf("%s is damaged, and not named in %+v", object, found)
		}
	}
	s.run(exitDamage, "restore", "-i", s.recovery, "--snapshot", "latest", "--target", "out")

	// Whoever has the disk and no key sees the same.
	scrubbed := s.run(exitDamage, "scrub", "-r", filepath.Join(s.SSHD.Root, "repo"), "--writer-key", "none", "--json")
	if again := decode[struct{ Object string }](t, scrubbed.stdout, "damage"); len(again) != len(packs) {
		t.Errorf("%d packs are damaged, scrub finds %+v", len(packs), again)
	}
}

// flip changes a byte in the middle of a file.
func flip(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A signal ends a snapshot in good order: code 130, and nothing committed.
func (s *site) testInterrupted(t *testing.T) {
	before := s.snapshots(t)
	c := s.command("snapshot", "--limit-upload", "1K")
	var errs bytes.Buffer
	c.Stderr = &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for { // until it is at work
		if leases, _ := os.ReadDir(filepath.Join(s.SSHD.Root, "repo", "leases")); len(leases) > 0 {
			break
		}
		if time.Now().After(deadline) {
			c.Process.Kill()
			t.Fatalf("it never began: %s", errs.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil || c.ProcessState.ExitCode() != exitInterrupted || errs.String() != "permafrost: error: interrupted\n" {
		t.Errorf("%v, stderr %q", err, errs.String())
	}
	if after := s.snapshots(t); len(after) != len(before) {
		t.Errorf("%d snapshots became %d", len(before), len(after))
	}
}

// A file that can't be read is left out and named, and the snapshot is kept.
func (s *site) testPartial(t *testing.T) {
	info, err := os.Stat(s.Live)
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if err := os.WriteFile(filepath.Join(s.System(), "site_uploads", "root.txt"), []byte("not for you\n"), 0o000); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(filepath.Join(s.System(), "site_uploads", "root.txt")) })
	home, err := os.MkdirTemp(s.Dir, "home-") // where the instance's user gets to
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t, home}
	program := filepath.Join(d.home, "permafrost")
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(program, self, 0o755)
	}
	if err == nil {
		err = os.Chown(d.home, int(owner.Uid), int(owner.Gid))
	}
	if err != nil {
		t.Fatal(err)
	}
	run := func(code int, args ...string) result {
		t.Helper()
		c := d.command(args...)
		c.Path = program
		if os.Geteuid() == 0 { // who may read everything
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
		}
		r := c.run(t)
		if r.code != code {
			t.Fatalf("%v: exit code %d, want %d\n%s%s", args, r.code, code, r.stdout, r.stderr)
		}
		return r
	}
	run(exitDone, "init", "--live", s.Live, "--recovery-key", "recovery.key")
	r := run(exitPartial, "snapshot", "--live", s.Live)
	if !strings.Contains(r.stderr, "site_uploads/root.txt was left out") || !strings.Contains(r.stderr, "1 file, directory or link of the media; the warnings above name") {
		t.Errorf("stderr\n%s", r.stderr)
	}
	if out := run(exitDone, "snapshots").stdout; !strings.Contains(out, "partial, 1 left out") {
		t.Errorf("the list is\n%s", out)
	}
	if out := run(exitDone, "show").stdout; !strings.Contains(out, "left out: media/site_uploads/root.txt: ") {
		t.Errorf("show tells\n%s", out)
	}
}

// A pattern means the same to find and to --exclude, and one that matches nothing is named.
func (s *site) testPatterns(t *testing.T) {
	s = s.on(t)
	for _, name := range []string{"patterns/a1", "patterns/b1"} {
		path := filepath.Join(s.System(), name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(name), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	defer os.RemoveAll(filepath.Join(s.System(), "patterns"))
	for _, pattern := range []string{"[!a]1", "[^a]1"} {
		r := s.run(exitDone, "snapshot", "--exclude", pattern, "--exclude", "cach")
		if !strings.Contains(r.stderr, `pattern "cach" matches nothing`) || strings.Contains(r.stderr, "a]1") {
			t.Errorf("stderr\n%s", r.stderr)
		}
		left := s.run(exitDone, "ls", "latest", "media/patterns").stdout
		if strings.Contains(left, "b1") || !strings.Contains(left, "a1") {
			t.Errorf("--exclude %s leaves\n%s", pattern, left)
		}
		s.run(exitDone, "snapshot")
		if out := s.run(exitDone, "find", "media/patterns/"+pattern, "--in", "latest").stdout; !strings.Contains(out, "patterns/b1") || strings.Contains(out, "patterns/a1") {
			t.Errorf("find %s finds\n%s", pattern, out)
		}
	}
}

// Two snapshots of one instance do not run at once on a machine.
func (s *site) testLocked(t *testing.T) {
	locks, err := filepath.Glob(filepath.Join(s.home, "state", "*", "lock-*"))
	if err != nil || len(locks) != 1 {
		t.Fatal(locks, err)
	}
	f, err := os.Open(locks[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	s.run(exitLocked, "snapshot")
}

func (s *site) snapshots(t *testing.T) []keeper.Snapshot {
	t.Helper()
	return decode[keeper.Snapshot](t, s.run(exitDone, "snapshots", "--json").stdout, "snapshot")
}
