package main

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"permafrost/cmd/permafrost/internal/process"
	"permafrost/internal/sandbox"
)

// typed is what somebody typed where no secret belongs. Parsers quote letters up to the first that is none.
const typed = "typedsecretzqx"

// inherited is a secret in permafrost's own environment.
const inherited = "inherited-marker-19cd"

// envSecrets are in .env.production. Passwords hold what passfiles, URLs and JSON escape.
var envSecrets = map[string]string{
	"SECRET_KEY_BASE": "marker-5d1a-of-secret-key-base", "OTP_SECRET": "marker-77e0-of-otp",
	"ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY": "marker-e21c-of-active-record", "VAPID_PRIVATE_KEY": "marker-09bb-of-vapid=",
	"SMTP_PASSWORD": sandbox.Markers.Secret, "AWS_SECRET_ACCESS_KEY": "marker/4c+of+s3/key",
	"DB_PASS": `db:marker\of %40@/#$x`, "REDIS_PASSWORD": "redis:marker &%41@/#<x>",
}

// A leakTest runs permafrost on a machine where every secret is known.
type leakTest struct {
	*witness
	tmp      string              // TMPDIR, which must be empty when a command has ended
	secrets  map[string][]string // by name: every form that a leak might take
	extraEnv []string
}

// No secret shows in what a command says, in the arguments or the environment of a process, in a file that others can
// read, in a core file, or in what is stored.
func TestNoSecretLeaks(t *testing.T) {
	t.Parallel()
	s := newSite(t, sandbox.Config{Redis: sandbox.RedisConfig{Password: envSecrets["REDIS_PASSWORD"]}})
	l := newLeakTest(t, s)
	l.init()
	l.learnKeys(l.recovery, filepath.Join(l.home, "writer.key"))
	for _, test := range []struct {
		name string
		run  func(*leakTest)
	}{
		{"processes", (*leakTest).testProcesses},
		{"commands", (*leakTest).testCommands},
		{"mistakes", (*leakTest).testMistakes},
		{"passphrase", (*leakTest).testPassphrase},
		{"signals", (*leakTest).testSignals},
		{"files", (*leakTest).testFiles}, // of all that ran before
	} {
		t.Run(test.name, func(t *testing.T) {
			c := *l
			c.witness = l.witness.on(t)
			test.run(&c)
		})
	}
}

// newLeakTest gives the instance its secrets, and a role of its own that needs a password.
func newLeakTest(t *testing.T, s *site) *leakTest {
	t.Helper()
	l := &leakTest{witness: &witness{site: s, root: s.System()}, tmp: t.TempDir(), secrets: make(map[string][]string)}
	l.learn("a typed secret", typed)
	l.sql("CREATE ROLE leaky SUPERUSER LOGIN PASSWORD '" + envSecrets["DB_PASS"] + "'")
	set := map[string]string{"DB_USER": "leaky"}
	for name, secret := range envSecrets {
		l.learn(name, secret)
		set[name] = "'" + secret + "'"
	}
	text, err := os.ReadFile(filepath.Join(l.live(set), ".env.production"))
	path := filepath.Join(s.Live, ".env.production")
	if err == nil {
		// As mastodon:setup leaves it.
		err = errors.Join(os.WriteFile(path, text, 0o644), os.Chmod(path, 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// learn remembers the forms of a secret: as it is, as programs quote it, and encoded.
func (l *leakTest) learn(name, secret string) {
	forms := []string{secret, url.QueryEscape(secret), url.PathEscape(secret), strings.Trim(strconv.Quote(secret), `"`),
		strings.NewReplacer(`\`, `\\`, ":", `\:`).Replace(secret), hex.EncodeToString([]byte(secret))}
	for shift := range 3 { // bytes before it in the same base64
		text := base64.RawStdEncoding.EncodeToString([]byte("xx"[:min(shift, 2)] + secret))
		forms = append(forms, text[(shift*8+5)/6:len(text)-1])
	}
	slices.Sort(forms)
	l.secrets[name] = slices.Compact(forms)
}

var keySecrets = regexp.MustCompile(`"(sign_key|data_key|meta_key|fingerprint_key|polynomial)":"([^"]+)"|AGE-SECRET-KEY-[A-Z0-9-]+`)

// learnKeys remembers what is secret in key files.
func (l *leakTest) learnKeys(files ...string) {
	l.t.Helper()
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			l.t.Fatal(err)
		}
		found := keySecrets.FindAllStringSubmatch(string(data), -1)
		if len(found) < 6 {
			l.t.Fatalf("%s holds %d secrets", file, len(found))
		}
		for i, m := range found {
			name, text := fmt.Sprintf("%s, number %d", filepath.Base(file), i), m[0]
			if m[2] != "" {
				text = m[2]
			}
			l.secrets[name] = []string{text}
			if raw, err := base64.StdEncoding.DecodeString(m[2]); err == nil && len(raw) == 32 {
				l.secrets[name] = append(l.secrets[name], string(raw), hex.EncodeToString(raw))
			}
		}
	}
}

// leaks names the secrets in a text.
func (l *leakTest) leaks(text string) (names []string) {
	for name, forms := range l.secrets {
		if slices.ContainsFunc(forms, func(form string) bool { return strings.Contains(text, form) }) {
			names = append(names, name)
		}
	}
	return names
}

func (l *leakTest) silent(what, text string) {
	l.t.Helper()
	if names := l.leaks(text); len(names) > 0 {
		l.t.Errorf("%s shows %q:\n%.2000s", what, names, text)
	}
}

// command returns a command that a careless administrator runs: everybody may read the files that it makes, unless it says
// otherwise, and core files are wanted.
func (l *leakTest) command(args ...string) *command {
	c := l.site.command(args...)
	c.Args = append([]string{"sh", "-c", `umask 0; ulimit -c unlimited 2>/dev/null; exec "$0" "$@"`, c.Path}, args...)
	c.Path = "/bin/sh"
	c.Env = append(append(c.Env, "TMPDIR="+l.tmp, "SMTP_PASSWORD="+inherited), l.extraEnv...)
	return c
}

// run runs a command. Standard output of one whose data are secret is left out.
func (l *leakTest) run(code int, args ...string) result {
	l.t.Helper()
	r := l.command(args...).run(l.t)
	if code >= 0 && r.code != code || code < 0 && r.code == 0 {
		l.t.Errorf("permafrost %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.stdout, r.stderr)
	}
	what := "permafrost " + strings.Join(args, " ")
	if l.silent(what, r.stderr); args[0] != "dump" {
		l.silent(what, r.stdout)
	}
	l.noTemporary(what)
	return r
}

func (l *leakTest) noTemporary(what string) {
	l.t.Helper()
	if left, err := os.ReadDir(l.tmp); err != nil || len(left) > 0 {
		l.t.Errorf("%s leaves %v in the directory for temporary files: %v", what, left, err)
	}
}

// testCommands runs every command, in both of its voices, on a repository in a directory.
func (l *leakTest) testCommands() {
	l.repo = filepath.Join(l.home, "local-repo")
	l.extraEnv = append(l.extraEnv, "PERMAFROST_WRITER_KEY="+filepath.Join(l.home, "etc", "local-writer.key"))
	l.recovery = filepath.Join(l.home, "local-recovery.key")
	open := filepath.Join(l.home, "restored-into-open")
	if err := errors.Join(os.Mkdir(open, 0o755), os.Chmod(open, 0o755)); err != nil {
		l.t.Fatal(err)
	}
	extra := filepath.Join(l.Live, "extra.conf")
	if err := errors.Join(os.WriteFile(extra, []byte("key "+envSecrets["OTP_SECRET"]+"\n"), 0o644), os.Chmod(extra, 0o664)); err != nil {
		l.t.Fatal(err)
	}
	for _, args := range [][]string{
		{"init", "--live", l.Live, "--recovery-key", l.recovery},
		{"snapshot", "-v", "--secret", extra}, {"snapshot", "--json"}, {"snapshots"}, {"snapshots", "--json"},
		{"show", "latest"}, {"show", "latest", "--json"}, {"ls", "latest"}, {"ls", "latest", "--json"}, {"find", "*.jpg"},
		{"diff", "latest~1", "latest"}, {"key", "list"}, {"key", "list", "--json"},
		{"check", "--read-data"}, {"check", "-v", "-i", l.recovery, "--read-data"}, {"check", "--json", "-i", l.recovery}, {"scrub"},
		{"restore", "-v", "-i", l.recovery, "--snapshot", "latest~1", "--target", filepath.Join(l.home, "restored")},
		{"restore", "--json", "-i", l.recovery, "--snapshot", "latest~1", "--target", open},
		{"dump", "-i", l.recovery, "latest", "secrets"}, {"dump", "-i", l.recovery, "latest", "postgres"},
		{"dump", "-i", l.recovery, "latest", "redis"},
		{"key", "add", "writer", "--name", "second", "--key-file", filepath.Join(l.home, "second.key"), "-i", l.recovery},
		{"key", "rotate", "-i", l.recovery}, {"snapshot", "-q"}, {"key", "remove", "second", "-i", l.recovery},
		{"forget", "-v", "--keep-last", "1"}, {"prune", "-v", "-i", l.recovery}, {"prune", "--json", "-i", l.recovery},
		{"version"}, {"help", "environment"},
	} {
		r := l.run(exitDone, args...)
		if args[0] == "init" {
			l.learnKeys(l.recovery, filepath.Join(l.home, "etc", "local-writer.key"))
		}
		if args[0] == "dump" && args[len(args)-1] == "secrets" && len(l.leaks(r.stdout)) < len(envSecrets) {
			l.t.Errorf("of the secrets only %q are found in what holds them all: looking for them proves nothing", l.leaks(r.stdout))
		}
	}
	l.learnKeys(l.recovery) // with its new epoch
}

// paused returns a snapshot at work that waits for a table: it has all of its children. Release lets it go on.
func (l *leakTest) paused(args ...string) (c *command, said *strings.Builder, release func()) {
	l.t.Helper()
	unlock := l.lockTable()
	release = func() {
		l.t.Helper()
		if err := unlock(); err != nil {
			l.t.Fatal(err)
		}
	}
	c, said = l.command(append([]string{"snapshot", "-v"}, args...)...), new(strings.Builder)
	c.Stdout, c.Stderr = said, said
	if err := c.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Process.Kill() })
	await(l.t, "pg_dump and pg_restore", func() bool {
		return childOf(c.Process.Pid, "pg_dump", "--snapshot") != 0 && childOf(c.Process.Pid, "pg_restore", "--format") != 0
	})
	return c, said, release
}

// testProcesses looks at all processes of a snapshot over the ssh command.
func (l *leakTest) testProcesses() {
	l.extraEnv = nil
	c, said, release := l.paused("--ssh-command", "ssh")
	l.lookAt(c.Process.Pid, "permafrost")
	names := make(map[string]int)
	for _, pid := range children(c.Process.Pid) {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil {
			l.t.Error(err)
			continue
		}
		text := strings.TrimSpace(string(name))
		names[text]++
		env := l.lookAt(pid, text)
		if strings.Contains(env, "PERMAFROST_REPOSITORY=") || text != "ssh" && strings.Contains(env, inherited) {
			l.t.Errorf("%s inherits\n%s", text, env)
		}
	}
	if names["ssh"] == 0 || names["pg_dump"] != 1 || names["pg_restore"] != 1 {
		l.t.Errorf("children %v", names)
	}
	l.lookAtPassfile(childOf(c.Process.Pid, "pg_dump", "--snapshot"))
	release()
	if err := c.Wait(); err != nil {
		l.t.Errorf("%v\n%s", err, said)
	}
	l.silent("snapshot", said.String())
	l.noTemporary("snapshot")
	l.testTypedKey()
}

// testTypedKey gives a key in the environment, where the name of its file belongs: ssh must not get it.
func (l *leakTest) testTypedKey() {
	record := filepath.Join(l.t.TempDir(), "record")
	spy := filepath.Join(l.t.TempDir(), "spy")
	if err := os.WriteFile(spy, []byte("#!/bin/sh\nenv >>"+record+"\nexec ssh \"$@\"\n"), 0o755); err != nil {
		l.t.Fatal(err)
	}
	l.extraEnv = append(l.extraEnv, "PERMAFROST_IDENTITY_FILE=AGE-SECRET-KEY-1"+typed)
	l.run(exitUsage, "snapshots", "--ssh-command", spy)
	env, err := os.ReadFile(record)
	if err != nil || !strings.Contains(string(env), "HOME=") {
		l.t.Fatal(string(env), err)
	}
	l.silent("the ssh command's environment", string(env))
}

// children returns the processes that a process started.
func children(parent int) (pids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		data, _ := os.ReadFile(path)
		_, rest, _ := strings.Cut(string(data), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

var coreLimit = regexp.MustCompile(`Max core file size +\w+ +\w+`)

// lookAt looks at a process as others could, and returns its environment.
func (l *leakTest) lookAt(pid int, name string) (env string) {
	l.t.Helper()
	for _, file := range []string{"cmdline", "environ", "limits"} {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil || len(data) == 0 {
			l.t.Errorf("%s of %s: %d bytes, %v", file, name, len(data), err)
		}
		l.silent(name+"'s "+file, string(data))
		if file == "environ" {
			env = string(data)
		}
		if line := coreLimit.FindString(string(data)); file == "limits" && strings.Join(strings.Fields(line), " ") != "Max core file size 0 0" {
			l.t.Errorf("%s may write core files: %q", name, line)
		}
	}
	return env
}

// lookAtPassfile looks at how pg_dump gets the password: the role does need it, so it has to be somewhere.
func (l *leakTest) lookAtPassfile(pid int) {
	l.t.Helper()
	env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if !strings.Contains(string(env), "\x00PGPASSFILE=/proc/self/fd/3\x00") {
		l.t.Fatalf("pg_dump has no passfile:\n%q", env)
	}
	path := fmt.Sprintf("/proc/%d/fd/3", pid)
	data, err := os.ReadFile(path)
	if want := `*:*:*:*:db\:marker\\of %40@/#$x` + "\n"; err != nil || string(data) != want {
		l.t.Errorf("the passfile holds %q, want %q: %v", data, want, err)
	}
	var file, process unix.Stat_t
	if err := errors.Join(unix.Stat(path, &file), unix.Stat(filepath.Dir(filepath.Dir(path)), &process)); err != nil {
		l.t.Fatal(err)
	}
	if file.Mode&0o7777 != 0o600 || file.Uid != process.Uid || file.Nlink != 0 {
		l.t.Errorf("the passfile has mode %o, owner %d and %d names; pg_dump is user %d's", file.Mode&0o7777, file.Uid, file.Nlink, process.Uid)
	}
}

// argumentWords finds a word of memory in a trace of Go's, beside the places in the program, which begin with a plus.
var argumentWords = regexp.MustCompile(`[^+]0x[0-9a-f]+`)

// testSignals ends snapshots in the middle: by a signal that is heeded, and by one that has the program say where it was.
func (l *leakTest) testSignals() {
	c, said, release := l.paused()
	signalTo(l.t, c.Process.Pid, unix.SIGTERM)
	if c.Wait(); c.ProcessState.ExitCode() != exitInterrupted {
		l.t.Errorf("%v\n%s", c.ProcessState, said)
	}
	release()
	l.silent("an interrupted snapshot", said.String())
	l.noTemporary("an interrupted snapshot")

	l.extraEnv = []string{"GOTRACEBACK=crash"}
	c, said, release = l.paused()
	signalTo(l.t, c.Process.Pid, unix.SIGQUIT)
	c.Wait()
	release()
	status := c.ProcessState.Sys().(syscall.WaitStatus)
	if words := argumentWords.FindString(said.String()); !strings.Contains(said.String(), "goroutine ") || !strings.Contains(said.String(), "SIGQUIT came") || words != "" {
		l.t.Errorf("it does not say where it was, or says more: %v, %q\n%s", c.ProcessState, words, said)
	}
	// Not every machine would dump one, nor a process that started pg_dump as another user: see TestForbidCoreDumps.
	if cores, _ := filepath.Glob(filepath.Join(l.home, "core*")); status.CoreDump() || len(cores) > 0 {
		l.t.Errorf("a core was dumped: %v", cores)
	}
	l.silent("a crash", said.String())
	l.noTemporary("a crash")
}

// testFiles looks at every file that a command wrote: nobody else may read it, and only what was restored holds secrets.
func (l *leakTest) testFiles() {
	for _, name := range []string{"state", "cache", "local-repo", "restored", "restored-into-open", "etc", "second.key"} {
		if _, err := os.Stat(filepath.Join(l.home, name)); err != nil {
			l.t.Errorf("nothing to look at: %v", err)
		}
	}
	err := filepath.WalkDir(l.home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == l.home {
			return err
		}
		if d.Name() == "public-system" {
			return fs.SkipDir // media have the modes that they had
		}
		name, _ := filepath.Rel(l.home, path)
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 && name != "restored-into-open" {
			l.t.Errorf("%s has mode %v", name, info.Mode())
		}
		top, _, _ := strings.Cut(name, string(filepath.Separator))
		if !d.Type().IsRegular() || strings.HasPrefix(top, "restored") || strings.HasSuffix(top, ".key") || top == "etc" {
			return nil
		}
		return l.searchFile(path)
	})
	if err == nil {
		err = filepath.WalkDir(l.place(), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			return l.searchFile(path)
		})
	}
	if err != nil {
		l.t.Error(err)
	}
}

func (l *leakTest) searchFile(path string) error {
	data, err := os.ReadFile(path)
	if names := l.leaks(string(data)); len(names) > 0 {
		l.t.Errorf("%s holds %q", path, names)
	}
	return err
}

// No machine is needed that does dump cores.
func TestForbidCoreDumps(t *testing.T) {
	var before, after unix.Rlimit
	// A process that started a child as another user is not dumpable already.
	if err := errors.Join(unix.Getrlimit(unix.RLIMIT_CORE, &before), unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)); err != nil {
		t.Fatal(err)
	}
	process.ForbidCoreDumps()
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err = errors.Join(err, unix.Getrlimit(unix.RLIMIT_CORE, &after)); err != nil || dumpable != 0 || after != (unix.Rlimit{}) {
		t.Errorf("dumpable %d, limit %v, %v", dumpable, after, err)
	}
	unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)
	unix.Setrlimit(unix.RLIMIT_CORE, &before) // only root gets it back, and no other test asks
}
