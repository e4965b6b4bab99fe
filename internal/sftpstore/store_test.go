package sftpstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"permafrost/internal/sandbox"
	"permafrost/internal/sshconn"
	"permafrost/internal/storetest"
	"permafrost/repo/store"
)

// serverArg makes the test's binary an SFTP server on its standard input and output: the library's, with the extensions
// that follow.
const serverArg = "serve-sftp"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == serverArg {
		serve(os.Args[2:])
		return
	}
	if len(os.Args) > 2 && os.Args[1] == babblerArg {
		babble(os.Stdin, os.Stdout, babblers[os.Args[2]])
		return
	}
	if len(os.Args) > 1 && os.Args[1] == liarArg {
		serveLies(os.Args[2:])
		return
	}
	os.Unsetenv("SSH_AUTH_SOCK")
	code := m.Run()
	if err := shared.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// shared is the server of all tests that want a plain one.
var shared sandbox.SharedSSHD

func plainSSHD(t testing.TB) *sandbox.SSHD {
	t.Helper()
	server, err := shared.Get()
	if err != nil {
		t.Fatal(err)
	}
	return server
}

func serve(extensions []string) {
	server, err := sftp.NewServer(struct {
		io.Reader
		io.WriteCloser
	}{os.Stdin, os.Stdout})
	if err == nil {
		err = sftp.SetSFTPExtensions(extensions...)
	}
	if err == nil {
		err = server.Serve()
	}
	if err != nil && err != io.EOF {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// scripted returns the path of a script that stands in for ssh: it runs the command instead.
func scripted(t *testing.T, command ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ssh")
	text := "#!/bin/sh\nexec '" + strings.Join(command, "' '") + "'\n"
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// scriptedConfig returns a configuration of a command that serves SFTP by itself.
func scriptedConfig(t *testing.T, path string, command ...string) Config {
	t.Helper()
	return Config{Config: sshconn.Config{Host: "scripted", UseCommand: true, Command: scripted(t, command...)}, Path: path}
}

// librarys returns a configuration of the library's own server.
func librarys(t *testing.T, extensions ...string) Config {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return scriptedConfig(t, filepath.Join(t.TempDir(), "repo"), append([]string{self, serverArg}, extensions...)...)
}

func startSSHD(t testing.TB, c sandbox.SSHDConfig) *sandbox.SSHD {
	t.Helper()
	server, err := sandbox.StartSSHD(context.Background(), t.TempDir(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func config(s *sandbox.SSHD) Config {
	return Config{
		Config: sshconn.Config{Host: s.Host, Port: s.Port, User: s.User,
			IdentityFiles: []string{s.IdentityFile}, KnownHostsFiles: []string{s.KnownHosts}, ConfigFile: "none"},
		Path: filepath.Join(s.Root, "new", "repo"),
	}
}

func open(t testing.TB, c Config) *Store {
	t.Helper()
	if c.Lasting == nil {
		c.Lasting = func(text string) { t.Errorf("warning: %s", text) }
	}
	s, err := Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// fresh returns a function that opens an empty repository each time.
func fresh(c Config) func(t *testing.T) store.Store {
	n := 0
	return func(t *testing.T) store.Store {
		n++
		c := c
		c.Path = filepath.Join(c.Path, fmt.Sprint(n))
		return open(t, c)
	}
}

func TestOpenSSH(t *testing.T) {
	t.Parallel()
	storetest.Run(t, fresh(config(plainSSHD(t))))
}

// Fewer channels than asked for, or more than one: the operations find their way.
func TestChannels(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ allowed, connections, channels int }{
		"refused":   {1, 1, 4},
		"one":       {10, 1, 1},
		"many":      {10, 2, 4},
		"automatic": {10, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := config(startSSHD(t, sandbox.SSHDConfig{Config: []string{fmt.Sprint("MaxSessions ", test.allowed)}}))
			c.Connections, c.Channels = test.connections, test.channels
			s := open(t, c)
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					data := storetest.Random(uint64(i), 300<<10)
					put(t, s, fmt.Sprint("a/", i), data)
					holds(t, s, fmt.Sprint("a/", i), data)
				})
			}
			wg.Wait()
			live := 0
			s.pool.mu.Lock()
			defer s.pool.mu.Unlock()
			for _, slot := range s.pool.slots {
				if slot.session != nil {
					live++
				}
			}
			if want := max(1, min(test.allowed, test.channels)) * max(1, min(2, test.connections)); live > want && test.channels > 0 {
				t.Errorf("%d channels, want %d", live, want)
			}
		})
	}
}

// Directories that names are spread over are made all at once, durably, and by whoever comes first.
func TestSpreadDirectories(t *testing.T) {
	t.Parallel()
	s := open(t, config(plainSSHD(t)))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { put(t, s, fmt.Sprintf("packs/%02x/x", 31*i), []byte("x")) })
	}
	wg.Wait()
	dirs, err := filepath.Glob(filepath.Join(s.config.Path, "packs", "*"))
	if err != nil || len(dirs) != 256 {
		t.Errorf("%d directories, want 256: %v", len(dirs), err)
	}
	for _, d := range dirs {
		if _, known := s.known.Load(d); !known {
			t.Errorf("%s may not be durable", d)
		}
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	c := config(plainSSHD(t))
	c.UseCommand = true
	storetest.Run(t, fresh(c))
}

// The library's server has no fsync, and its rename overwrites: publishing goes by hard links.
func TestLibrarysServer(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var warnings []string
	c := librarys(t, "hardlink@openssh.com", "posix-rename@openssh.com", "statvfs@openssh.com")
	c.Lasting = func(text string) {
		mu.Lock()
		defer mu.Unlock()
		warnings = append(warnings, text)
	}
	storetest.Run(t, fresh(c))
	if len(warnings) == 0 || !strings.Contains(warnings[0], "fsync") {
		t.Errorf("warnings: %q", warnings)
	}
}

// Without hard links a server whose rename overwrites is refused, before anything is published.
func TestOverwritingRename(t *testing.T) {
	t.Parallel()
	c := librarys(t, "statvfs@openssh.com")
	c.Lasting = func(string) {}
	s := open(t, c)
	for range 2 {
		err := s.Put(t.Context(), "config", []byte("x"))
		if err == nil || !strings.Contains(err.Error(), "rename overwrites") {
			t.Fatalf("Put: %v", err)
		}
		onlyDirs(t, c.Path)
	}
}

// onlyDirs fails the test where a file is below root.
func onlyDirs(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("%s is there", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// OpenSSH's own rename refuses a name that is taken.
func TestRefusingRename(t *testing.T) {
	t.Parallel()
	c := config(startSSHD(t, sandbox.SSHDConfig{SFTPArgs: []string{"-P", "hardlink"}}))
	warnings := 0
	c.Lasting = func(text string) {
		warnings++
		if !strings.Contains(text, "hard links") {
			t.Errorf("warning: %s", text)
		}
	}
	s := open(t, c)
	for range 3 {
		s.Put(t.Context(), "a", nil)
	}
	if warnings != 1 {
		t.Errorf("%d warnings, want 1", warnings)
	}
	c.Lasting = func(string) {}
	storetest.Run(t, fresh(c))
}

func count(t *testing.T, s *Store, prefix string) (n int) {
	t.Helper()
	for _, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

func TestRelativePath(t *testing.T) {
	t.Parallel()
	server := startSSHD(t, sandbox.SSHDConfig{SFTPArgs: []string{"-d", "/tmp"}})
	c := config(server)
	rel, err := filepath.Rel("/tmp", server.Root)
	if err != nil {
		t.Fatal(err)
	}
	c.Path = filepath.Join(rel, "repo")
	put(t, open(t, c), "a/b", []byte("b"))
	if got, err := os.ReadFile(filepath.Join(server.Root, "repo/a/b")); err != nil || string(got) != "b" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestFree(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	if n, ok, err := open(t, config(server)).Free(t.Context()); n <= 0 || !ok || err != nil {
		t.Errorf("%d, %v, %v", n, ok, err)
	}
	c := librarys(t)
	c.Lasting = func(string) {}
	if n, ok, err := open(t, c).Free(t.Context()); n != 0 || ok || err != nil {
		t.Errorf("a server without statvfs: %d, %v, %v", n, ok, err)
	}
}

func TestNoSpace(t *testing.T) {
	const server = "/usr/lib/openssh/sftp-server"
	if _, err := os.Stat(server); err != nil {
		t.Fatalf("install the package openssh-sftp-server: %v", err)
	}
	dir := storetest.SmallDir(t, 1<<20)
	if dir == "" {
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, command := range map[string][]string{"openssh": {server}, "library": {self, serverArg, "hardlink@openssh.com"}} {
		t.Run(name, func(t *testing.T) {
			c := scriptedConfig(t, filepath.Join(dir, name), command...)
			c.Lasting = func(string) {}
			s := open(t, c)
			defer os.RemoveAll(c.Path)
			var err error
			puts := 0
			for ; err == nil; puts++ {
				err = s.Put(t.Context(), fmt.Sprint("a/", puts), make([]byte, 300<<10))
			}
			if puts > 4 || !errors.Is(err, store.ErrNoSpace) {
				t.Fatalf("put number %d: %v", puts, err)
			}
			if n := count(t, s, "tmp/"); n != 0 {
				t.Errorf("%d left below tmp/", n)
			}
			if err := s.Remove(t.Context(), "a/0"); err != nil {
				t.Fatal(err)
			}
			if err := s.Put(t.Context(), "a/b", make([]byte, 300<<10)); err != nil {
				t.Errorf("after making room: %v", err)
			}
		})
	}
}

func TestCloseEndsOperations(t *testing.T) {
	t.Parallel()
	s := open(t, config(plainSSHD(t)))
	s.Close()
	if err := s.Put(t.Context(), "a", nil); !errors.Is(err, errClosed) {
		t.Errorf("Put: %v", err)
	}
}

func put(t testing.TB, s store.Store, name string, data []byte) {
	t.Helper()
	if err := s.Put(context.Background(), name, data); err != nil {
		t.Fatal(err)
	}
}

func holds(t testing.TB, s store.Store, name string, want []byte) {
	t.Helper()
	p := make([]byte, len(want)+1)
	if n, err := s.ReadAt(context.Background(), name, p, 0); err != io.EOF || !bytes.Equal(p[:n], want) {
		t.Fatalf("%s: %d bytes, %v; want %d", name, n, err, len(want))
	}
}

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}
