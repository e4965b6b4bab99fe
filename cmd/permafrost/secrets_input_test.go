package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"golang.org/x/sys/unix"
)

// A mistake is a command that can't do what it is told.
type mistake struct {
	args []string
	env  []string
}

// testMistakes makes every mistake that has a secret near it, and looks at what is said of it, to people and to programs by
// turns.
func (l *leakTest) testMistakes() {
	var all []mistake
	all = append(all, l.settingMistakes()...)
	all = append(all, l.keyMistakes()...)
	all = append(all, l.addressMistakes()...)
	all = append(all, l.configMistakes()...)
	for i, m := range all {
		l.t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel() // most of the time is waiting
			c := *l
			c.witness = l.witness.on(t)
			c.extraEnv = m.env
			c.tmp = t.TempDir()
			c.run(-1, append(m.args, []string{"--verbose", "--json"}[i%2])...)
		})
	}
}

// settingMistakes are .env.production files that are wrong.
func (l *leakTest) settingMistakes() (all []mistake) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	closed.Close()
	_, port, _ := net.SplitHostPort(closed.Addr().String())
	pg, redis := fmt.Sprintf("@%s:%d/mastodon_production", l.Postgres.Host, l.Postgres.Port), "@"+l.Redis.Addr+"/0"
	for _, setting := range []string{
		"DB_PASS=" + typed, "DB_PASS=", "DB_USER=nobody", "DB_NAME=nothing", "DB_PORT=" + port, "DB_HOST=/nowhere", "DB_PORT=" + typed,
		"DB_HOST=postgresql://u:" + typed + pg, "DB_HOST=u:" + typed + "@127.0.0.1", "DB_NAME=postgresql://u:" + typed + pg,
		"DB_SSLMODE=" + typed, "DB_PASS=$(echo " + typed + ")", "DB_PASS=\"" + typed, typed, "export " + typed, "DB_PASS " + typed,
		"DATABASE_URL=" + typed, "DATABASE_URL=mysql://u:" + typed + pg, "DATABASE_URL=postgresql://u:" + typed + pg,
		"DATABASE_URL=postgresql://u:" + typed + "/x" + pg, "DATABASE_URL=postgresql://u:" + typed + "?x" + pg,
		"DATABASE_URL='postgresql://u:" + typed + "#x" + pg + "'", "DATABASE_URL=postgresql://u:" + typed + "@x" + pg,
		"DATABASE_URL=postgresql://u:" + typed + "%zz" + pg, "DATABASE_URL='postgresql://u:" + typed + " x" + pg + "'",
		"DATABASE_URL=postgresql:u:" + typed + pg, "DATABASE_URL=postgresql://u:1?" + typed + pg,
		"DATABASE_URL=postgresql://u:" + typed + pg + "?sslmode=verify-full&sslrootcert=/nowhere",
		"REDIS_PASSWORD=" + typed, "REDIS_PASSWORD=", "REDIS_PORT=" + port, "REDIS_PORT=" + typed, "REDIS_DB=" + typed, "REDIS_DB=4000",
		"REDIS_HOST=redis://:" + typed + redis, "REDIS_HOST=:" + typed + "@127.0.0.1",
		"REDIS_URL=redis://:" + typed + redis, "REDIS_URL=redis://" + typed + redis, "REDIS_URL=" + typed, "REDIS_URL=redis:" + typed + redis,
		"REDIS_URL=http://:" + typed + redis, "REDIS_URL=redis://:" + typed + "/x" + redis, "REDIS_URL=redis://:" + typed + "%zz" + redis,
		"REDIS_URL='redis://:" + typed + "#x" + redis + "'", "REDIS_URL=redis://:1/" + typed + redis, "REDIS_URL=redis://:1?" + typed + redis,
		"REDIS_URL=rediss://:" + typed + redis, "REDIS_URL=unix://:" + typed + "@nowhere/socket", "LOCAL_DOMAIN=https://u:" + typed + "@x",
		"SIDEKIQ_REDIS_URL=redis://:" + typed + redis[:len(redis)-1] + "5",
	} {
		name, value, ok := strings.Cut(setting, "=")
		var live string
		if ok {
			live = l.live(map[string]string{name: value})
		} else {
			live = l.live(nil)
			f, err := os.OpenFile(filepath.Join(live, ".env.production"), os.O_APPEND|os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteString(setting + "\n")
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				l.t.Fatal(err)
			}
		}
		all = append(all, mistake{args: []string{"snapshot", "--live", live}})
	}
	return all
}

// keyMistakes are key files that are damaged, or another's, and keys where the name of a file belongs.
func (l *leakTest) keyMistakes() (all []mistake) {
	file := func(data []byte) string {
		path := filepath.Join(l.t.TempDir(), "k")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			l.t.Fatal(err)
		}
		return path
	}
	whole, err := os.ReadFile(l.recovery)
	if err != nil {
		l.t.Fatal(err)
	}
	other := newDesk(l.t)
	l.learnKeys(filepath.Join(other.home, "recovery.key"))
	key := regexp.MustCompile(`AGE-SECRET-KEY-\S+`).Find(whole)
	ring := whole[bytes.Index(whole, []byte("# permafrost-keyring")):]
	ring = ring[:bytes.IndexByte(ring, '\n')]
	changed := bytes.Replace(whole, key, bytes.Replace(key, []byte("A"), []byte("C"), 3), 1)
	list := func(args ...string) { all = append(all, mistake{args: append([]string{"snapshots"}, args...)}) }
	for _, data := range [][]byte{whole[:len(whole)/2], whole[:len(whole)-10], whole[:len(whole)-len(whole)/8], changed, key[:40], key,
		bytes.Replace(whole, []byte(`"sign_key":"`), []byte(`"sign_key":"A`), 1), bytes.ReplaceAll(whole, []byte("# "), nil),
		[]byte(typed), []byte("-----BEGIN OPENSSH PRIVATE KEY-----\n" + typed + "\n-----END OPENSSH PRIVATE KEY-----\n"),
		[]byte("AGE-PLUGIN-" + strings.ToUpper(typed))} {
		list("-i", file(data))
		all = append(all, mistake{args: []string{"snapshot", "--writer-key", file(data)}})
	}
	list("-i", filepath.Join(other.home, "recovery.key"))
	for _, text := range []string{string(key), strings.ToLower(string(key)), string(ring), string(whole)} {
		list("-i", text)
		list("--writer-key", text)
		list("--fingerprint", text, "-i", l.recovery)
		all = append(all, mistake{[]string{"snapshots"}, []string{"PERMAFROST_IDENTITY_FILE=" + text}},
			mistake{[]string{"snapshots"}, []string{"PERMAFROST_WRITER_KEY=" + text}},
			mistake{args: []string{"init", "--live", l.Live, "-r", l.t.TempDir() + "/r", "--owner", text}},
			mistake{args: []string{"key", "add", "owner", text, "--name", "x", "-i", l.recovery}})
	}
	return all
}

// addressMistakes are addresses with a password.
func (l *leakTest) addressMistakes() (all []mistake) {
	for _, address := range []string{
		"sftp://u:TYPED@127.0.0.1/p", "sftp://u:TYPED/x@127.0.0.1/p", "sftp://u:TYPED%zz@127.0.0.1/p", "sftp://u:TYPED#x@127.0.0.1/p", "sftp://u:TYPED?x@127.0.0.1/p",
		"sftp://u:TYPED@x@127.0.0.1/p", "sftp:u:TYPED@127.0.0.1:/p", "sftp:u:TYPED@x@127.0.0.1:/p", "sftp:u:TYPED/x@127.0.0.1:/p", "sftp:u:TYPED@127.0.0.1",
		"SFTP://u:TYPED@127.0.0.1/p", "sftp ://u:TYPED@127.0.0.1/p", "sftp:/u:TYPED@127.0.0.1/p", "ssh://u:TYPED@127.0.0.1/p", "file://u:TYPED@127.0.0.1/p",
		"u:TYPED@127.0.0.1:/p", "u.v:TYPED@127.0.0.1:/p", "u:TYPED/x@127.0.0.1:/p", "https://u:TYPED@127.0.0.1/p", "rest:https://u:TYPED@127.0.0.1/p",
	} {
		address = strings.ReplaceAll(address, "TYPED", typed)
		all = append(all, mistake{args: []string{"snapshots", "-r", address}}, mistake{args: []string{"check"}, env: []string{"PERMAFROST_REPOSITORY=" + address}})
	}
	return all
}

// configMistakes are files that are no configuration, or a wrong one.
func (l *leakTest) configMistakes() (all []mistake) {
	paths := []string{filepath.Join(l.Live, ".env.production"), l.recovery}
	for _, text := range []string{
		"repository = T", "repository = \"T", "repository = 'T", "repository = 0T", "repository = 1_T", "repository = T x", "repository = [\"T\"",
		"repository = \"T\"\nrepository = \"T\"", "repository = sftp://u:T@h/p", "repository = \"sftp://u:T@h/p\"", "repository = \"u:T@h:/p\"",
		"repository = [\"T\"]", "repository = \"\\qT\"", "identity_file = \"AGE-SECRET-KEY-T\"", "[keep]\ndaily = \"T\"", "T", "repository = 12T",
		"writer_key = \"AGE-SECRET-KEY-1T\"", "identity_file = {a = \"T\"}", "SECRET=T", "live = 2026-T",
	} {
		path := filepath.Join(l.t.TempDir(), "c.toml")
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "T", typed)+"\n"), 0o600); err != nil {
			l.t.Fatal(err)
		}
		paths = append(paths, path)
	}
	for _, path := range paths {
		all = append(all, mistake{args: []string{"snapshots", "--repo=", "--config", path}, env: []string{"PERMAFROST_REPOSITORY=", "PERMAFROST_WRITER_KEY="}})
	}
	return all
}

// testPassphrase opens a recovery file that is encrypted with a passphrase: on no terminal, and on one, rightly and wrongly.
func (l *leakTest) testPassphrase() {
	const passphrase = "passphrase-marker-c40e"
	l.learn("the passphrase", passphrase)
	plain, err := os.ReadFile(l.recovery)
	if err != nil {
		l.t.Fatal(err)
	}
	var b bytes.Buffer
	armored := armor.NewWriter(&b)
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		l.t.Fatal(err)
	}
	recipient.SetWorkFactor(10)
	w, err := age.Encrypt(armored, recipient)
	if err == nil {
		_, err = w.Write(plain)
		err = errors.Join(err, w.Close(), armored.Close())
	}
	path := filepath.Join(l.home, "wrapped.key")
	if err = errors.Join(err, os.WriteFile(path, b.Bytes(), 0o600)); err != nil {
		l.t.Fatal(err)
	}
	l.run(exitFailed, "snapshots", "-i", path)
	for typedThere, code := range map[string]int{passphrase: exitDone, passphrase[1:] + "x": exitFailed} {
		l.learn("what is typed", typedThere)
		c := l.command("snapshots", "-v", "-i", path)
		seen := onTerminal(l.t, c, typedThere)
		r := c.run(l.t)
		if r.code != code {
			l.t.Errorf("exit code %d, want %d:\n%s", r.code, code, r.stderr)
		}
		l.silent("permafrost", r.stdout+r.stderr)
		l.silent("the terminal", seen())
	}
	l.noTemporary("permafrost")
}

// onTerminal gives a command a terminal of its own, on which text is typed once the command has asked. What it returns gives
// what was seen there, when the command has ended.
func onTerminal(t *testing.T, c *command, text string) (seen func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	c.Stdin = slave
	c.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	done := make(chan string)
	go func() {
		var b bytes.Buffer
		buf := make([]byte, 1024)
		asked := false
		for {
			n, err := master.Read(buf)
			b.Write(buf[:n])
			if !asked && bytes.Contains(b.Bytes(), []byte(": ")) {
				asked = true
				// What is typed before the echo is off would be seen, as on every terminal.
				await(t, "silence", func() bool {
					state, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
					return err != nil || state.Lflag&unix.ECHO == 0
				})
				master.WriteString(text + "\n")
			}
			if err != nil || bytes.Contains(b.Bytes(), []byte("\n")) {
				done <- b.String()
				return
			}
		}
	}()
	t.Cleanup(func() { master.Close(); slave.Close() })
	return func() string { return <-done }
}
