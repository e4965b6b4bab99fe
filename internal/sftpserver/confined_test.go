package sftpserver

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pkg/sftp"
)

// Links that somebody has planted lead nowhere, and paths end at the root.
func TestConfined(t *testing.T) {
	root, outside := newRoot(t), t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := errors.Join(
		os.WriteFile(secret, []byte("secret"), 0o600),
		os.WriteFile(filepath.Join(root, "profile"), []byte("foreign"), 0o600),
		os.Symlink(secret, filepath.Join(root, "index/link")),
		os.Symlink(secret, filepath.Join(root, "tmp/link")),
		os.Symlink("../config", filepath.Join(root, "tmp/inner")),
		os.Symlink(outside, filepath.Join(root, "packs/cd")),
		os.Symlink("../index", filepath.Join(root, "packs/ef")),
	); err != nil {
		t.Fatal(err)
	}
	before, without := state(t, root), state(t, outside)
	for _, appendOnly := range []bool{true, false} {
		c := connect(t, root, appendOnly)
		upload(t, c, "tmp/other", "other").Close()
		for _, path := range []string{secret, "../" + filepath.Base(outside) + "/secret", "/etc/passwd", "/", "..", root + "x", "tmp/../../x",
			"index/link", "tmp/link", "tmp/inner", "packs/cd/secret", "packs/cd/new", "packs/ef/" + another, "packs/ef/new", "profile",
			"new", ".permafrost-lock", ".ssh/authorized_keys", "tmp/.hidden", "tmp/a/b", "log/0000000001/x", "packs/xyz/a", "packs/AB/a", "index/\x00"} {
			reads := mutation{"read", func(c *sftp.Client, path string) error {
				f, err := c.Open(path)
				if err == nil {
					_, err = f.Read(make([]byte, 1))
					f.Close()
				}
				return err
			}}
			lists := mutation{"list", func(c *sftp.Client, path string) error { _, err := c.ReadDir(path); return err }}
			stats := mutation{"stat", func(c *sftp.Client, path string) error { _, err := c.Stat(path); return err }}
			for _, m := range append(mutations, reads, lists, stats) {
				if m.name == "symlink to" || m.name == "rename away" {
					continue // what they make is looked for below
				}
				if err := m.try(c, path); err == nil {
					t.Errorf("%s: %s succeeds", path, m.name)
				}
			}
		}
		c.Remove("tmp/other")
		if after := state(t, root); !maps.Equal(before, after) {
			t.Errorf("the root: %v became %v", before, after)
		}
		if after := state(t, outside); !maps.Equal(without, after) {
			t.Errorf("outside: %v became %v", without, after)
		}
		infos, err := c.ReadDir(root)
		if err != nil || len(infos) != 8 {
			t.Errorf("the root lists %d names, want the 8 of a repository: %v", len(infos), err)
		}
	}
}

// What a client needs goes: leases and its own files below tmp/ can be removed, and an owner removes anything.
func TestAllowed(t *testing.T) {
	root := newRoot(t)
	c := connect(t, root, true)
	f := upload(t, c, "tmp/x", "first and more")
	f.Close()
	f, err := c.OpenFile("tmp/x", os.O_WRONLY|os.O_TRUNC)
	if err == nil {
		_, err = f.Write([]byte("first"))
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(root, "tmp/x")); string(data) != "first" {
		t.Errorf("%q, %v", data, err)
	}
	for name, flags := range map[string]int{"append": os.O_APPEND, "exclusively": os.O_CREATE | os.O_EXCL} {
		if _, err := c.OpenFile("tmp/x", os.O_WRONLY|flags); err == nil {
			t.Errorf("what is there is opened %s", name)
		}
	}
	if err := errors.Join(c.Remove(aLease), c.Remove("tmp/x")); err != nil {
		t.Error(err)
	}
	if _, err := c.OpenFile("tmp/none", os.O_WRONLY); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening what is not there: %v", err)
	}
	if st, err := c.StatVFS("log"); err != nil || st.Bavail == 0 {
		t.Errorf("free space: %+v, %v", st, err)
	}
	if p, err := c.RealPath("."); p != root || err != nil {
		t.Errorf("%s, %v", p, err)
	}
	owner := connect(t, root, false)
	for _, name := range committed {
		if err := c.Remove(name); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", name, err)
		}
		if err := owner.Remove(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Open files are bounded, and what no client sends ends the session.
func TestBounds(t *testing.T) {
	root := newRoot(t)
	c := connect(t, root, true)
	opened := 0
	for ; opened <= maxHandles; opened++ {
		if _, err := c.Open("config"); err != nil {
			break
		}
	}
	if opened != maxHandles {
		t.Errorf("%d files are open", opened)
	}
	for name, input := range map[string]string{"too long": "\x00\x04\x00\x01", "empty": "\x00\x00\x00\x00", "cut": "\x00\x00\x00\x05\x01", "cut length": "\x00\x00"} {
		if err := Serve(Config{Root: root}, strings.NewReader(input), io.Discard); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := Serve(Config{Root: filepath.Join(root, "none")}, strings.NewReader(""), io.Discard); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a root: %v", err)
	}
}

// Whatever a packet holds, there is an answer and no panic, and nothing committed changes.
func FuzzRequest(f *testing.F) {
	for kind := range requests {
		f.Add(byte(kind), []byte("\x00\x00\x00\x01\x00\x00\x00\x06config\x00\x00\x00\x1a\x00\x00\x00\x00\x00\x00\x00\x06config"))
	}
	f.Add(byte(fxpExtended), []byte("\x00\x00\x00\x01\x00\x00\x00\x14hardlink@openssh.com\x00\x00\x00\x06config\x00\x00\x00\x01x"))
	root := f.TempDir()
	if err := os.WriteFile(filepath.Join(root, "config"), []byte("config"), 0o400); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		packet := append([]byte{0, 0, byte((len(body) + 1) >> 8), byte(len(body) + 1), kind}, body...)
		if len(body) > 60000 {
			return
		}
		var out bytes.Buffer
		if err := Serve(Config{Root: root, AppendOnly: true}, bytes.NewReader(packet), &out); err != nil || out.Len() < 9 {
			t.Errorf("%v, %d bytes", err, out.Len())
		}
		if data, err := os.ReadFile(filepath.Join(root, "config")); err != nil || string(data) != "config" {
			t.Errorf("config is %q: %v", data, err)
		}
	})
}
