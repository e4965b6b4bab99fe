package sftpserver

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"permafrost/repo/store"
)

// Whoever has an append-only key, and no key of the repository, looks for uploads of others and writes into each that it finds,
// removes it, or puts another one in its place: what is acknowledged is what was sent.
func TestUploadsOfOthers(t *testing.T) {
	root := newRoot(t)
	c, evil := connect(t, root, true), connect(t, root, true)
	for i := range 40 {
		content := fmt.Sprint("upload ", i)
		name := "index/" + hashOf(content)
		if i%2 == 1 {
			name = fmt.Sprintf("log/%010d", i)
		}
		temp := "tmp/" + strings.ToLower(rand.Text())
		f := upload(t, c, temp, content)
		infos, err := evil.ReadDir("tmp")
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range infos {
			others, err := evil.OpenFile("tmp/"+info.Name(), os.O_WRONLY)
			if err == nil {
				others.WriteAt([]byte("junk"), 0)
				others.Close()
			}
		}
		if err := errors.Join(c.Link(temp, name), f.Close(), c.Remove(temp)); err != nil {
			t.Error(err)
		}
		if data, err := os.ReadFile(filepath.Join(root, name)); string(data) != content {
			t.Errorf("%s holds %q: %v", name, data, err)
		}
	}
}

// What an upload has left is listed, for its owner to remove, once no upload can be under way in it.
func TestLeftUploadsAreListed(t *testing.T) {
	root := newRoot(t)
	c := connect(t, root, false)
	for name, age := range map[string]time.Duration{"fresh": 0, "slow": 40 * time.Hour, "left": 50 * time.Hour} {
		upload(t, c, "tmp/"+name, name).Close()
		then := time.Now().Add(-age)
		if err := os.Chtimes(filepath.Join(root, "tmp", name), then, then); err != nil {
			t.Fatal(err)
		}
	}
	infos, err := c.ReadDir("tmp")
	if err != nil || len(infos) != 1 || infos[0].Name() != "left" {
		t.Errorf("%v, %v", infos, err)
	}
	if err := c.Remove("tmp/left"); err != nil {
		t.Error(err)
	}
}

// Nothing gets the name of another content's hash, whoever has written it.
func TestNameIsHash(t *testing.T) {
	root := newRoot(t)
	c := connect(t, root, true)
	const content = "content"
	hash := hashOf(content)
	if err := c.Mkdir("packs/" + hash[:2]); err != nil {
		t.Fatal(err)
	}
	names := []string{"packs/" + hash[:2] + "/" + hash, "index/" + hash, "manifests/" + hash, "keys/" + hash + ".age"}
	for _, written := range []string{"Content", "", content + content, content} {
		for _, name := range names {
			temp := "tmp/" + strings.ToLower(rand.Text())
			upload(t, c, temp, written).Close()
			err := c.Link(temp, name)
			if right := written == content; right && err != nil || !right && !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%q as %s: %v", written, name, err)
			}
			if _, err := os.Stat(filepath.Join(root, name)); (err == nil) != (written == content) {
				t.Errorf("%q as %s: %v", written, name, err)
			}
		}
	}
	hole, err := c.OpenFile("tmp/long", os.O_WRONLY|os.O_CREATE)
	if err == nil {
		_, err = hole.WriteAt([]byte("X"), store.MaxObject)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Link("tmp/long", names[0]); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("longer than any object: %v", err)
	}
}
