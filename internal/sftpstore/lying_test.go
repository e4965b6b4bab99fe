package sftpstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"permafrost/internal/sandbox"
	"permafrost/internal/storetest"
)

// liarArg makes the test's binary an SFTP server with the quirks that follow.
const liarArg = "serve-lies"

func serveLies(args []string) {
	var quirks []sandbox.Quirk
	for _, a := range args {
		if quirks = append(quirks, sandbox.Quirk(a)); a == string(sandbox.NoLinks) {
			sftp.SetSFTPExtensions() // nor does it say that there are
		}
	}
	if sandbox.NewQuirks(quirks...).Serve(struct {
		io.Reader
		io.WriteCloser
	}{os.Stdin, os.Stdout}) != nil {
		os.Exit(1)
	}
}

// lying returns a configuration of a server with these lies.
func lying(t *testing.T, lies ...sandbox.Quirk) Config {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{self, liarArg}
	for _, lie := range lies {
		args = append(args, string(lie))
	}
	c := scriptedConfig(t, filepath.Join(t.TempDir(), "repo"), args...)
	c.Lasting, c.RetryBudget = func(string) {}, time.Second
	return c
}

// A server whose answers are no deeds gets no object, and the error says what it does not do.
func TestLyingServer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		lies []sandbox.Quirk
		want string
	}{
		{[]sandbox.Quirk{sandbox.LinkLies, sandbox.RenameLies}, "hard link reports success and does nothing"},
		{[]sandbox.Quirk{sandbox.LinkLies, sandbox.RenameOverwrites}, "hard link reports success and does nothing"},
		{[]sandbox.Quirk{sandbox.LinkLies, sandbox.RenameFreeLies}, "rename reports success and does nothing"},
		{[]sandbox.Quirk{sandbox.NoLinks, sandbox.RenameLies}, "rename reports success and does nothing"},
		{[]sandbox.Quirk{sandbox.NoLinks, sandbox.RenameFreeLies}, "rename reports success and does nothing"},
		{[]sandbox.Quirk{sandbox.WriteLies}, "reported success for 1000 bytes, and kept 500"},
		{[]sandbox.Quirk{sandbox.NoLinks, sandbox.WriteLies}, "reported success for 1000 bytes, and kept 500"},
		{[]sandbox.Quirk{sandbox.MkdirLies}, "file does not exist"},
	} {
		t.Run(fmt.Sprint(test.lies), func(t *testing.T) {
			s := open(t, lying(t, test.lies...))
			for range 2 {
				err := s.Put(t.Context(), "packs/aa/a", make([]byte, 1000))
				if err == nil || !strings.Contains(strings.ToLower(err.Error()), test.want) {
					t.Errorf("%v; want %q", err, test.want)
				}
				if n := count(t, s, ""); n != 0 {
					t.Errorf("%d objects are there", n)
				}
			}
		})
	}
}

// Where links alone are a lie, a rename that refuses a name that is taken publishes.
func TestLyingLinks(t *testing.T) {
	t.Parallel()
	storetest.Run(t, fresh(lying(t, sandbox.LinkLies)))
}

// A temporary file that the server does not remove stays, for a prune to find.
func TestLyingRemove(t *testing.T) {
	t.Parallel()
	s := open(t, lying(t, sandbox.RemoveLies))
	put(t, s, "a/b", []byte("b"))
	holds(t, s, "a/b", []byte("b"))
	if n := count(t, s, "tmp/"); n != 1 {
		t.Errorf("%d files below tmp/, want 1", n)
	}
}

// rclone's server answers that it has made a hard link, and its rename overwrites: nothing is stored there, and the error
// says why.
func TestRclone(t *testing.T) {
	t.Parallel()
	server, err := sandbox.StartRclone(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop() })
	c := config(server)
	c.Path, c.Lasting = "/repo", func(string) {}
	s := open(t, c)
	for i := range 2 {
		err := s.Put(t.Context(), fmt.Sprint("a/", i), []byte("x"))
		if err == nil || !strings.Contains(err.Error(), "hard link reports success and does nothing") ||
			!strings.Contains(err.Error(), "rename overwrites") || !errors.As(err, new(*UnfitError)) {
			t.Error(err)
		}
	}
	onlyDirs(t, server.Root)
}

// ProFTPD with HiddenStores gives a file its name when it is closed, and a file that is opened twice is two files.
func TestHiddenStores(t *testing.T) {
	t.Parallel()
	for name, lines := range map[string][]string{"plain": nil, "hidden": {"HiddenStores on"}} {
		t.Run(name, func(t *testing.T) {
			server, err := sandbox.StartProFTPD(context.Background(), t.TempDir(), lines...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { server.Stop() })
			c := config(server)
			c.Lasting = func(string) {}
			storetest.Run(t, fresh(c))
			c.Channels, c.Path = 3, c.Path+"-striped" // which this server can't serve at once
			striped, data := open(t, c), storetest.Random(1, 8<<20)
			if n := striped.pool.channels(); n != striped.config.Connections {
				t.Errorf("%d channels for %d connections", n, striped.config.Connections)
			}
			put(t, striped, "large", data)
			holds(t, striped, "large", data)
		})
	}
}

// A server that answers all the time and never comes to an end is given up.
func TestEndlessRead(t *testing.T) {
	t.Parallel()
	c := lying(t, sandbox.EndlessRead)
	if err := os.MkdirAll(c.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Path, "a"), make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, c)
	s.patience, s.grace = 300*time.Millisecond, 100*time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := s.ReadAt(ctx, "a", make([]byte, 1000), 0)
	if !errors.Is(err, errOverdue) || ctx.Err() != nil {
		t.Errorf("%v", err)
	}
	if _, err := s.Stat(ctx, "a"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
