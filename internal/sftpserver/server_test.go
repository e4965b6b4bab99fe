package sftpserver

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
)

// connect serves root and returns a client of it.
func connect(t *testing.T, root string, appendOnly bool) *sftp.Client {
	t.Helper()
	ours, theirs := net.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(Config{Root: root, AppendOnly: appendOnly}, theirs, theirs)
		theirs.Close()
	}()
	c, err := sftp.NewClientPipe(ours, ours)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return c
}

// hashOf is the name of what holds a text.
func hashOf(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

const anObject = "an object"

// Names of what holds anObject.
var another, aPack, aLease = hashOf(anObject), "packs/" + hashOf(anObject)[:2] + "/" + hashOf(anObject), "leases/" + strings.Repeat("1", 32)

// committed are objects of each kind.
var committed = []string{"config", "keys/" + another + ".age", aPack, "index/" + another, "manifests/" + another, "log/0000000000"}

// newRoot makes a repository with an object of each kind, put by a client as the store does it.
func newRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	c := connect(t, root, true)
	for _, dir := range []string{"keys", "packs", filepath.Dir(aPack), "index", "manifests", "log", "leases", "tmp"} {
		if err := c.Mkdir(dir); err != nil {
			t.Fatal(dir, err)
		}
	}
	for _, name := range append(committed, aLease) {
		upload(t, c, "tmp/upload", anObject).Close()
		if err := errors.Join(c.Link("tmp/upload", name), c.Remove("tmp/upload")); err != nil {
			t.Fatal(name, err)
		}
	}
	return root
}

// upload writes a file and leaves it open.
func upload(t *testing.T, c *sftp.Client, name, content string) *sftp.File {
	t.Helper()
	f, err := c.OpenFile(name, os.O_WRONLY|os.O_CREATE)
	if err == nil {
		_, err = f.Write([]byte(content))
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// state tells of everything below root but tmp/, leases/ and the root itself what a client must not change.
func state(t *testing.T, root string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		if err != nil || name == "." || strings.HasPrefix(name, "tmp") || strings.HasPrefix(name, "leases") {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		all[name] = info.Mode().String()
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			all[name] += fmt.Sprintf(" %v %x", info.ModTime(), sha256.Sum256(data))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A mutation is something that a client tries on a path.
type mutation struct {
	name string
	try  func(c *sftp.Client, path string) error
}

var mutations = []mutation{
	{"write", opening(os.O_WRONLY)},
	{"read and write", opening(os.O_RDWR)},
	{"truncate on opening", opening(os.O_WRONLY | os.O_TRUNC)},
	{"create", opening(os.O_WRONLY | os.O_CREATE)},
	{"create and truncate", opening(os.O_WRONLY | os.O_CREATE | os.O_TRUNC)},
	{"create exclusively", opening(os.O_WRONLY | os.O_CREATE | os.O_EXCL)},
	{"append", opening(os.O_WRONLY | os.O_APPEND)},
	{"write by a handle for reading", func(c *sftp.Client, path string) error {
		f, err := c.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteAt([]byte("X"), 0)
		return err
	}},
	{"truncate by a handle for reading", func(c *sftp.Client, path string) error {
		f, err := c.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Truncate(0)
	}},
	{"remove", func(c *sftp.Client, path string) error { return c.Remove(path) }},
	{"rmdir", func(c *sftp.Client, path string) error { return c.RemoveDirectory(path) }},
	{"rename away", func(c *sftp.Client, path string) error { return c.Rename(path, "tmp/away") }},
	{"rename onto", func(c *sftp.Client, path string) error { return c.Rename("tmp/other", path) }},
	{"posix-rename away", func(c *sftp.Client, path string) error { return c.PosixRename(path, "tmp/away") }},
	{"posix-rename onto", func(c *sftp.Client, path string) error { return c.PosixRename("tmp/other", path) }},
	{"link onto", func(c *sftp.Client, path string) error { return c.Link("tmp/other", path) }},
	{"link away", func(c *sftp.Client, path string) error {
		if err := c.Link(path, "tmp/away"); err != nil {
			return err
		}
		return opening(os.O_WRONLY)(c, "tmp/away")
	}},
	{"link to another name", func(c *sftp.Client, path string) error { return c.Link(path, "log/0000000009") }},
	{"truncate", func(c *sftp.Client, path string) error { return c.Truncate(path, 1) }},
	{"chmod", func(c *sftp.Client, path string) error { return c.Chmod(path, 0o666) }},
	{"chtimes", func(c *sftp.Client, path string) error { return c.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)) }},
	{"chown", func(c *sftp.Client, path string) error { return c.Chown(path, 1, 1) }},
	{"mkdir", func(c *sftp.Client, path string) error { return c.Mkdir(path) }},
	{"symlink onto", func(c *sftp.Client, path string) error { return c.Symlink("/etc/passwd", path) }},
	{"symlink to", func(c *sftp.Client, path string) error { return c.Symlink(path, "tmp/symlink") }},
}

// opening returns a try to open a file and change its first byte.
func opening(flags int) func(*sftp.Client, string) error {
	return func(c *sftp.Client, path string) error {
		f, err := c.OpenFile(path, flags)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteAt([]byte("X"), 0)
		return err
	}
}

// Nothing that a client can ask for changes what is committed, by whatever path it is named, and whoever put it.
func TestNothingChangesObjects(t *testing.T) {
	root := newRoot(t)
	t.Run("ours", func(t *testing.T) { nothingChanges(t, root) })
	for _, name := range committed { // as another server leaves them
		if err := os.Chmod(filepath.Join(root, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("another server's", func(t *testing.T) { nothingChanges(t, root) })
}

func nothingChanges(t *testing.T, root string) {
	before := state(t, root)
	if len(before) != len(committed)+7 {
		t.Fatalf("there is %v", before)
	}
	c := connect(t, root, true)
	upload(t, c, "tmp/other", "other").Close()
	defer c.Remove("tmp/other")
	for _, object := range append(committed, "packs", filepath.Dir(aPack), "log") {
		for _, path := range []string{object, filepath.Join(root, object), "tmp/../" + object, "./leases/.././/" + object} {
			for _, m := range mutations {
				if err := m.try(c, path); err == nil {
					t.Errorf("%s: %s succeeds", path, m.name)
				}
				if after := state(t, root); !maps.Equal(before, after) {
					t.Fatalf("%s: %s changed what was %v\nto %v", path, m.name, before, after)
				}
				c.Remove("tmp/away")
			}
		}
	}
	if _, err := os.Lstat(filepath.Join(root, "tmp/symlink")); err == nil {
		t.Error("there is a symbolic link")
	}
}

// A file that has been committed is reached by no handle that was there before, nor by its name below tmp/, in this session
// or another one, and not once that name is gone.
func TestSealed(t *testing.T) {
	root := newRoot(t)
	c, other := connect(t, root, true), connect(t, root, true)
	own := upload(t, c, "tmp/x", "content")
	others, err := other.OpenFile("tmp/x", os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := others.WriteAt([]byte("C"), 0); err != nil {
		t.Fatalf("two can't write to a file: %v", err)
	}
	if err := c.Link("tmp/x", "index/"+hashOf("Content")); err != nil {
		t.Fatal(err)
	}
	before := state(t, root)
	try := func(when string) {
		t.Helper()
		for i, f := range []*sftp.File{own, others} {
			if _, err := f.WriteAt([]byte("X"), 0); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%s: writing by handle %d: %v", when, i, err)
			}
			if f.Truncate(0) == nil || f.Chmod(0o600) == nil {
				t.Errorf("%s: handle %d sets attributes", when, i)
			}
		}
		for _, m := range mutations[:7] {
			if m.try(other, "tmp/x") == nil && when == "linked" {
				t.Errorf("%s: %s succeeds", when, m.name)
			}
		}
		if after := state(t, root); !maps.Equal(before, after) {
			t.Fatalf("%s: %v became %v", when, before, after)
		}
	}
	try("linked")
	for _, m := range []string{"tmp/y", "tmp/x"} {
		if err := other.Link("tmp/x", m); err == nil {
			t.Errorf("a link below tmp/ is made")
		}
	}
	if err := other.Remove("tmp/x"); err != nil {
		t.Fatal(err)
	}
	try("removed")
	if got := before["index/"+hashOf("Content")]; !strings.HasPrefix(got, "-r--------") || !strings.Contains(got, hashOf("Content")) {
		t.Errorf("index/x is %s", got)
	}
}

// A power cut may bring the mode back that a file had before it was sealed: its names still tell.
func TestSealedByNames(t *testing.T) {
	root := newRoot(t)
	c := connect(t, root, true)
	upload(t, c, "tmp/x", "content").Close()
	if err := c.Link("tmp/x", "index/"+hashOf("content")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, "index/"+hashOf("content")), 0o600); err != nil {
		t.Fatal(err)
	}
	before := state(t, root)
	for _, m := range mutations[:7] {
		if m.try(c, "tmp/x") == nil {
			t.Errorf("%s succeeds", m.name)
		}
	}
	if after := state(t, root); !maps.Equal(before, after) {
		t.Errorf("%v became %v", before, after)
	}
}

// A commit waits for a write that is under way in another process, and names below tmp/ change one at a time. Processes differ
// in nothing from trees that are opened each by itself.
func TestWaits(t *testing.T) {
	root := newRoot(t)
	var trees [2]*tree
	for i := range trees {
		var err error
		if trees[i], err = openTree(Config{Root: root, AppendOnly: true}); err != nil {
			t.Fatal(err)
		}
		defer trees[i].close()
	}
	waits := func(what string, do func() error, release func()) {
		t.Helper()
		done := make(chan error, 1)
		go func() { done <- do() }()
		select {
		case err := <-done:
			t.Errorf("%s does not wait: %v", what, err)
			release()
		case <-time.After(100 * time.Millisecond):
			release()
			if err := <-done; err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	f, err := trees[0].write("tmp/x", temp, flagWrite|flagCreate)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	writing, written, changed := make(chan bool), make(chan bool), make(chan error)
	go func() {
		changed <- change(f, func() error {
			writing <- true
			<-written
			return nil
		})
	}()
	<-writing
	waits("commit", func() error { return trees[1].commit("tmp/x", temp, "index/"+hashOf(""), object) }, func() { close(written) })
	if err := <-changed; err != nil {
		t.Error(err)
	}
	for _, test := range []struct {
		name string
		do   func() error
	}{
		{"write", func() error {
			f, err := trees[1].write("tmp/y", temp, flagWrite|flagCreate)
			f.Close()
			return err
		}},
		{"commit", func() error { return trees[1].commit("tmp/y", temp, "manifests/"+hashOf(""), object) }},
		{"remove", func() error { return trees[1].remove("tmp/y", temp) }},
	} {
		unlock, err := trees[0].lockNames()
		if err != nil {
			t.Fatal(err)
		}
		waits(test.name, test.do, unlock)
	}
}

// Many sessions write to files, commit and remove them all at once: what has an object's name keeps its content.
func TestSealRace(t *testing.T) {
	root := newRoot(t)
	stop, ended := make(chan struct{}), make(chan struct{})
	const writers = 3
	for i := range writers {
		c := connect(t, root, true)
		go func() {
			defer func() { ended <- struct{}{} }()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				f, err := c.OpenFile("tmp/x", os.O_WRONLY|os.O_CREATE)
				if err != nil {
					continue
				}
				for range 20 {
					f.WriteAt(bytes.Repeat([]byte{byte(i), byte(n)}, 100), 0)
				}
				c.Remove("tmp/x")
				f.WriteAt([]byte("late"), 0)
				f.Close()
			}
		}()
	}
	c := connect(t, root, true)
	seen := make(map[string]string)
	for deadline := time.Now().Add(20 * time.Second); len(seen) < 50 && time.Now().Before(deadline); {
		name := fmt.Sprintf("log/%010d", 1+len(seen))
		if c.Link("tmp/x", name) != nil {
			continue
		}
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Error(err)
		}
		seen[name] = string(data)
	}
	close(stop)
	for range writers {
		<-ended
	}
	if len(seen) < 50 {
		t.Errorf("%d were committed", len(seen))
	}
	for name, was := range seen {
		if is, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(is) != was {
			t.Errorf("%s has changed: %v", name, err)
		}
	}
}
