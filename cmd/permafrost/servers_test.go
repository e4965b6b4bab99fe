package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"permafrost/internal/sandbox"
)

// allServers has TestServers try every server; else it tries those that need no further packages, and not long.
var allServers = flag.Bool("servers", false, "try every SFTP server that README's table names")

// An otherServer is a server of SFTP that somebody may have.
type otherServer struct {
	name    string
	start   func(ctx context.Context, dir string) (*sandbox.SSHD, error)
	chroot  bool   // clients see its root as /
	refused string // what init says of a server that can't hold a repository
	lasting string // what init warns of, and init alone
	quick   bool   // it is tried by every run of the tests
}

var otherServers = []otherServer{
	{name: "OpenSSH", start: func(ctx context.Context, dir string) (*sandbox.SSHD, error) {
		return sandbox.StartSSHD(ctx, dir, sandbox.SSHDConfig{})
	}},
	{name: "OpenSSH, one session a connection", start: func(ctx context.Context, dir string) (*sandbox.SSHD, error) {
		return sandbox.StartSSHD(ctx, dir, sandbox.SSHDConfig{Config: []string{"MaxSessions 1"}})
	}},
	{name: "ProFTPD", start: func(ctx context.Context, dir string) (*sandbox.SSHD, error) { return sandbox.StartProFTPD(ctx, dir) }, lasting: noDirSync},
	{name: "ProFTPD, HiddenStores", quick: true, start: func(ctx context.Context, dir string) (*sandbox.SSHD, error) {
		return sandbox.StartProFTPD(ctx, dir, "HiddenStores on")
	}, lasting: noDirSync},
	{name: "rclone", quick: true, start: sandbox.StartRclone, chroot: true, refused: "its hard link reports success and does nothing, and its rename overwrites"},
	{name: "asyncssh", start: sandbox.StartAsyncSSH, lasting: noDirSync},
	{name: "dropbear", start: sandbox.StartDropbear},
	{name: "MySecureShell", start: sandbox.StartMySecureShell, chroot: true, refused: "it has no hard links, and its rename overwrites"},
	quirky("", sandbox.UntypedLists),
	quirky("", sandbox.StatOfNoneFails),
	quirky("", sandbox.StatFails),
	quirky("", sandbox.VisibleAtClose),
	quirky("", sandbox.NoLinks),
	quirky("", sandbox.LinkLies),
	quirky("", sandbox.OneChannel),
	quirky("", sandbox.Cuts),
	quirky("", sandbox.RemoveLies), // it leaves what it should remove, which a prune says
	quirky("rename overwrites", sandbox.NoLinks, sandbox.RenameOverwrites),
	quirky("reports success and does nothing", sandbox.LinkLies, sandbox.RenameLies),
	quirky("reports success and does nothing", sandbox.NoLinks, sandbox.RenameFreeLies),
	quirky("reported success for", sandbox.WriteLies),
	quirky("reported success for making that directory", sandbox.MkdirLies),
	{name: "several quirks", quick: true, lasting: noSync, start: func(_ context.Context, dir string) (*sandbox.SSHD, error) {
		return sandbox.StartQuirky(dir, sandbox.NewQuirks(sandbox.UntypedLists, sandbox.StatOfNoneFails, sandbox.VisibleAtClose, sandbox.OneChannel, sandbox.Cuts))
	}},
}

// What is so with a server on every run.
const (
	noSync    = "warning: the server does not offer fsync@"
	noDirSync = "warning: the server does not fsync directories"
)

func quirky(refused string, quirks ...sandbox.Quirk) otherServer {
	return otherServer{name: "a server with " + fmt.Sprint(quirks), refused: refused, lasting: noSync, start: func(_ context.Context, dir string) (*sandbox.SSHD, error) {
		return sandbox.StartQuirky(dir, sandbox.NewQuirks(quirks...))
	}}
}

// Other people's servers hold a repository through nights, a kill, a check, a prune and a restore; or init refuses them, and
// leaves no key behind.
func TestServers(t *testing.T) {
	t.Parallel()
	s := newSite(t, sandbox.Config{})
	settle(t, s.System())
	for i, o := range otherServers {
		if !o.quick && !*allServers {
			continue
		}
		t.Run(o.name, func(t *testing.T) { s.on(t).tryServer(fmt.Sprint("server", i), o) })
	}
}

func (s *site) tryServer(host string, o otherServer) {
	t := s.t
	server, err := o.start(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop() })
	s.home = t.TempDir()
	s.recovery = filepath.Join(s.home, "recovery.key")
	path := server.Root
	if o.chroot {
		path = ""
	}
	s.repo = "sftp:" + host + ":" + path + "/repo"
	config := filepath.Join(s.Home, ".ssh", "config")
	entry := fmt.Sprintf("Host %s\n  HostName %s\n  Port %d\n  User %s\n  IdentityFile %s\n  IdentitiesOnly yes\n  UserKnownHostsFile %s\n",
		host, server.Host, server.Port, server.User, server.IdentityFile, server.KnownHosts)
	if err := appendTo(config, entry); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.home, "permafrost.toml"), []byte("live = \""+s.Live+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if o.refused != "" {
		s.initRefused(o.refused)
		return
	}
	made := s.run(exitDone, "init", "--recovery-key", s.recovery)
	t.Logf("init says\n%s", made.stderr)
	s.lastingSaid(o.lasting, made)
	run := func(code int, args ...string) result {
		t.Helper()
		r := s.run(code, args...)
		s.lastingSaid("", r)
		return r
	}
	run(exitDated, "snapshot", "--date", "2026-06-26")
	w := newWitness(t, s, s.System())
	w.addMedia("more.jpg", 4<<20)
	w.killSnapshot(filepath.Join(server.Root, "repo"))
	run(exitDated, "snapshot", "--date", "2026-06-27")
	run(exitDone, "check")
	run(exitDone, "forget", s.snapshots(t)[1].ID)
	if strings.Contains(o.name, string(sandbox.RemoveLies)) {
		told(t, run(exitFailed, "prune", "-i", s.recovery), "still there")
	} else {
		run(exitDone, "prune", "-i", s.recovery)
	}
	run(exitDone, "check", "-i", s.recovery, "--read-data")
	w.intact()
}

// lastingSaid looks for a warning of what is so with the server on every run: once where there is a text, else not at all.
func (s *site) lastingSaid(text string, r result) {
	s.t.Helper()
	want := 0
	if text != "" {
		want = 1
	}
	if n := strings.Count(r.stderr, "fsync"); n != want || !strings.Contains(r.stderr, text) {
		s.t.Errorf("it warns of the server %d times, want %d and %q: %s", n, want, text, r.stderr)
	}
}

// initRefused makes a repository where none can be.
func (s *site) initRefused(want string) {
	r := s.run(exitFailed, "init", "--recovery-key", s.recovery)
	lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], want) || !strings.HasPrefix(lines[1], "permafrost: hint: ") {
		s.t.Errorf("init says\n%s", r.stderr)
	}
	for _, name := range []string{"recovery.key", "writer.key"} {
		if _, err := os.Lstat(filepath.Join(s.home, name)); err == nil {
			s.t.Errorf("%s is left behind", name)
		}
	}
}

// killSnapshot begins a snapshot and kills it as soon as something of it is stored.
func (w *witness) killSnapshot(root string) {
	w.t.Helper()
	before := len(present(root))
	c := w.command("snapshot")
	if err := c.Start(); err != nil {
		w.t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if len(present(root)) > before+1 { // its lease, and more
			break
		}
	}
	c.Process.Kill()
	c.Wait()
}

// present lists the files below root as they are at the moment.
func present(root string) (names []string) {
	filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return nil
	})
	return names
}

func appendTo(file, text string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}
