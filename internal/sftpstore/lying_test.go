package sftpstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"

	"permafrost/internal/hint"
	"permafrost/internal/sandbox"
	"permafrost/internal/storetest"
)

// liarArg makes the test's binary an SFTP server that lies: the library's request server over the operating system's files,
// with the lies that follow.
const liarArg = "serve-lies"

// A liar is what such a server is made of. What it has no lie for it does.
type liar map[string]bool

func serveLies(lies []string) {
	l := make(liar)
	for _, lie := range lies {
		l[lie] = true
	}
	extensions := []string{"hardlink@openssh.com"}
	if l["no links"] {
		extensions = nil
	}
	if err := sftp.SetSFTPExtensions(extensions...); err != nil {
		os.Exit(1)
	}
	server := sftp.NewRequestServer(struct {
		io.Reader
		io.WriteCloser
	}{os.Stdin, os.Stdout}, sftp.Handlers{FileGet: l, FilePut: l, FileCmd: l, FileList: l})
	server.Serve()
}

func (l liar) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	if l["read"] {
		return nothing{}, nil
	}
	return os.Open(r.Filepath)
}

// nothing answers each read with nothing, and never with an end.
type nothing struct{}

func (nothing) ReadAt([]byte, int64) (int, error) { return 0, nil }

func (l liar) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	flags := os.O_WRONLY | os.O_CREATE
	if r.Pflags().Excl {
		flags |= os.O_EXCL
	}
	f, err := os.OpenFile(r.Filepath, flags, 0o600)
	if err == nil && l["write"] {
		return &halfFile{f}, nil
	}
	return f, err
}

// A halfFile takes everything and keeps what comes first.
type halfFile struct{ *os.File }

func (f *halfFile) WriteAt(p []byte, off int64) (int, error) {
	if off > 0 {
		return len(p), nil
	}
	_, err := f.File.WriteAt(p[:len(p)/2], off)
	return len(p), err
}

func (l liar) Filecmd(r *sftp.Request) error {
	switch r.Method {
	case "Rename":
		switch {
		case l["rename"]:
			return nil
		case l["rename of free names"]:
			if _, err := os.Lstat(r.Target); err != nil {
				return nil
			}
			return sftp.ErrSSHFxFailure
		case l["overwriting rename"]:
			return os.Rename(r.Filepath, r.Target)
		}
		if err := os.Link(r.Filepath, r.Target); err != nil {
			return err
		}
		return os.Remove(r.Filepath)
	case "Link":
		if l["link"] {
			return nil
		}
		return os.Link(r.Filepath, r.Target)
	case "Remove":
		if l["remove"] {
			return nil
		}
		return os.Remove(r.Filepath)
	case "Mkdir":
		if l["mkdir"] {
			return nil
		}
		return os.Mkdir(r.Filepath, 0o700)
	}
	return sftp.ErrSSHFxOpUnsupported
}

func (l liar) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	if r.Method == "Stat" {
		info, err := os.Stat(r.Filepath)
		return infos{info}, err
	}
	entries, err := os.ReadDir(r.Filepath)
	var all infos
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			all = append(all, info)
		}
	}
	return all, err
}

type infos []fs.FileInfo

func (l infos) ListAt(to []fs.FileInfo, off int64) (int, error) {
	n := copy(to, l[min(off, int64(len(l))):])
	if n < len(to) {
		return n, io.EOF
	}
	return n, nil
}

// lying returns a configuration of a server with these lies.
func lying(t *testing.T, lies ...string) Config {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Config{Host: "liar", Path: filepath.Join(t.TempDir(), "repo"), UseCommand: true, Lasting: func(string) {},
		Command: scripted(t, append([]string{self, liarArg}, lies...)...), RetryBudget: time.Second}
}

// A server whose answers are no deeds gets no object, and the error says what it does not do.
func TestLyingServer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		lies []string
		want string
	}{
		{[]string{"link", "rename"}, "hard link reports success and does nothing"},
		{[]string{"link", "overwriting rename"}, "hard link reports success and does nothing"},
		{[]string{"link", "rename of free names"}, "rename reports success and does nothing"},
		{[]string{"no links", "rename"}, "rename reports success and does nothing"},
		{[]string{"no links", "rename of free names"}, "rename reports success and does nothing"},
		{[]string{"write"}, "reported success for 1000 bytes, and kept 500"},
		{[]string{"no links", "write"}, "reported success for 1000 bytes, and kept 500"},
		{[]string{"mkdir"}, "file does not exist"},
	} {
		t.Run(strings.Join(test.lies, ", "), func(t *testing.T) {
			s := open(t, lying(t, test.lies...))
			for range 2 {
				err := s.Put(t.Context(), "packs/aa/a", make([]byte, 1000))
				if err == nil || !strings.Contains(strings.ToLower(err.Error()), test.want) {
					t.Errorf("%v; hint: %s; want %q", err, hint.Of(err), test.want)
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
	storetest.Run(t, fresh(lying(t, "link")))
}

// A temporary file that the server does not remove stays, for a prune to find.
func TestLyingRemove(t *testing.T) {
	t.Parallel()
	s := open(t, lying(t, "remove"))
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
			!strings.Contains(err.Error(), "rename overwrites") || !strings.Contains(hint.Of(err), "OpenSSH") {
			t.Errorf("%v; hint: %s", err, hint.Of(err))
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
	c := lying(t, "read")
	if err := os.MkdirAll(c.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Path, "a"), make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, c)
	s.patience = time.Second
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
