package media

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/source"
)

// contents walks a tree and reads its files. It returns these by path, directories as "/", links with "-> " and their target,
// and why links were not followed.
func contents(t *testing.T, tree *Tree) (all map[string]string, refused map[string]*LeadsOutError) {
	t.Helper()
	all, refused = make(map[string]string), make(map[string]*LeadsOutError)
	last := ""
	for e, err := range tree.Walk(context.Background()) {
		if out := (*LeadsOutError)(nil); errors.As(err, &out) {
			refused[e.Path] = out
		} else {
			must(t, err)
		}
		if last != "" && source.ComparePaths(last, e.Path) >= 0 {
			t.Errorf("%q comes after %q", e.Path, last)
		}
		last = e.Path
		switch e.Type {
		case source.Dir:
			all[e.Path] = "/"
		case source.Symlink:
			all[e.Path] = "-> " + e.Target
		case source.File:
			f, err := tree.Open(e.Path)
			must(t, err)
			data, err := io.ReadAll(f)
			must(t, err)
			if !f.Is(e) || len(e.Xattrs) > 0 != strings.HasSuffix(e.Path, "attributed") {
				t.Errorf("%s: what is opened is another file, or its attributes are: %+v", e.Path, e)
			}
			must(t, f.Close())
			all[e.Path] = string(data)
		}
	}
	return all, refused
}

// Links into a directory that is named are followed, and stored under their own path; all others that lead out are named.
func TestFollow(t *testing.T) {
	withoutOpenat2(t, func(t *testing.T) {
		top := t.TempDir()
		write(t, top, "root/a", "root/inside/x", "disk/media_attachments/files/1", "disk/media_attachments/2", "disk/single attributed",
			"disk/other/y", "elsewhere/z", "disk-not/z")
		disk := filepath.Join(top, "disk")
		must(t, unix.Setxattr(filepath.Join(disk, "single attributed"), "user.x", []byte("y"), 0))
		must(t, unix.Mkfifo(filepath.Join(disk, "fifo"), 0o644))
		for link, target := range map[string]string{
			"root/media_attachments":                   disk + "/media_attachments",
			"root/file attributed":                     "../disk/./single attributed",
			"root/again":                               disk + "/media_attachments/files",
			"root/elsewhere":                           top + "/elsewhere",
			"root/disk-not":                            top + "/disk-not",
			"root/up":                                  disk + "/../elsewhere",
			"root/within":                              "inside/x",
			"root/absolute":                            top + "/root/inside",
			"root/nothing":                             disk + "/nothing",
			"root/fifo":                                disk + "/fifo",
			"root/by link":                             disk + "/link/z",
			"root/to link":                             disk + "/link",
			"disk/link":                                top + "/elsewhere",
			"disk/media_attachments/loop":              disk,
			"disk/media_attachments/self":              ".",
			"disk/media_attachments/files/next":        disk + "/other",
			"disk/media_attachments/files/out":         "../../../elsewhere/z",
			"disk/other/back":                          disk + "/media_attachments",
			"root/inside/proc":                         "/proc/self/environ",
			"root/inside/far":                          "../../../../../../../../../etc/shadow",
			"disk/media_attachments/files/sideways":    "../2",
			"disk/media_attachments/files/sideways up": "../../other/y",
		} {
			must(t, os.Symlink(target, filepath.Join(top, link)))
		}
		tree := openTree(t, filepath.Join(top, "root"), Options{Follow: []string{disk, top + "/absent"}})
		got, refused := contents(t, tree)
		want := map[string]string{
			".": "/", "a": "root/a", "inside": "/", "inside/x": "root/inside/x", "within": "-> inside/x", "absolute": "-> " + top + "/root/inside",
			"again": "/", "again/1": "disk/media_attachments/files/1", "again/next": "/", "again/next/y": "disk/other/y",
			"file attributed": "disk/single attributed", "again/sideways": "disk/media_attachments/2", "again/sideways up": "disk/other/y",
		}
		for path, data := range want {
			if got[path] != data {
				t.Errorf("%s: %q, want %q", path, got[path], data)
			}
		}
		var why []string
		for path, err := range refused {
			reason := err.Why
			if reason == "" {
				reason = "out, to " + strings.TrimPrefix(err.Target, top)
			}
			why = append(why, path+": "+reason)
		}
		slices.Sort(why)
		expect := []string{
			"again/next/back: the link at \"again\" leads there too",
			"again/out: out, to /elsewhere/z",
			"by link: the way there leads over another link",
			"disk-not: out, to /disk-not",
			"elsewhere: out, to /elsewhere",
			"fifo: it is neither a file nor a directory",
			"inside/far: out, to /etc/shadow",
			"inside/proc: out, to /proc/self/environ",
			"media_attachments: the link at \"again\" leads there too",
			"nothing: nothing is there; is a disk not mounted?",
			"to link: the way there leads over another link",
			"up: out, to /elsewhere",
		}
		if !slices.Equal(why, expect) {
			t.Errorf("refused:\n%s\nwant:\n%s", strings.Join(why, "\n"), strings.Join(expect, "\n"))
		}
		for path, what := range got {
			if _, named := refused[path]; named && !strings.HasPrefix(what, "-> ") || strings.Contains(path, "elsewhere/") {
				t.Errorf("%s is there: %q", path, what)
			}
		}
		if idle := tree.Unfollowed(); !slices.Equal(idle, []string{top + "/absent"}) {
			t.Errorf("unfollowed: %q", idle)
		}
		again, _ := contents(t, tree)
		if len(again) != len(got) {
			t.Errorf("walked again there are %d entries, and were %d", len(again), len(got))
		}
	})
}

// A link to where it lies stays a link, and so does one that would bring its own directories once more.
func TestFollowLoops(t *testing.T) {
	top := t.TempDir()
	write(t, top, "root/", "disk/a/b/f", "disk/c/f")
	disk := filepath.Join(top, "disk")
	for link, target := range map[string]string{
		"root/x": disk + "/a", "root/y": disk + "/a", "root/z": disk, "disk/a/b/up": disk + "/a", "disk/a/b/all": disk, "disk/a/b/c": disk + "/c", "disk/c/a": disk + "/a/b",
	} {
		must(t, os.Symlink(target, filepath.Join(top, link)))
	}
	got, _ := contents(t, openTree(t, filepath.Join(top, "root"), Options{Follow: []string{disk}}))
	files := 0
	for path, what := range got {
		if strings.HasSuffix(path, "/f") && what != "/" {
			files++
		}
	}
	if files != 2 || got["x/b/f"] != "disk/a/b/f" || got["x/b/c/f"] != "disk/c/f" || got["x/b/up"] != "-> "+disk+"/a" || got["y"] != "-> "+disk+"/a" {
		t.Errorf("%d files: %q", files, got)
	}
}

// Whoever may write anything into the tree and into the directory that links are followed into, and moves it about while it is
// read, has no byte read that he could not read himself.
func TestFollowHostile(t *testing.T) {
	root := hisTree(t)
	top := filepath.Dir(root)
	const treasure = "what root alone may read"
	must(t, os.WriteFile(filepath.Join(top, "secret"), []byte(treasure), 0o600))
	must(t, os.MkdirAll(filepath.Join(top, "vault/deep"), 0o700))
	must(t, os.WriteFile(filepath.Join(top, "vault/deep/secret"), []byte(treasure), 0o644))
	must(t, os.MkdirAll(filepath.Join(top, "disk/d"), 0o755))
	disk := filepath.Join(top, "disk")
	must(t, os.WriteFile(filepath.Join(disk, "secret"), []byte(treasure), 0o600)) // root's, in his disk
	must(t, os.MkdirAll(filepath.Join(disk, "locked"), 0o700))
	must(t, os.WriteFile(filepath.Join(disk, "locked/secret"), []byte(treasure), 0o644))
	must(t, os.WriteFile(filepath.Join(disk, "d/his"), []byte("his"), 0o644))
	for _, p := range []string{"disk", "disk/d", "disk/d/his"} {
		must(t, os.Lchown(filepath.Join(top, p), his, his))
	}
	targets := []string{disk, disk + "/d", disk + "/secret", disk + "/locked", disk + "/locked/secret", disk + "/../secret", top + "/secret",
		top + "/vault", top + "/vault/deep/secret", "/etc/shadow", "/proc/1/environ", "/proc/self/root" + top + "/secret", disk + "/d/../../vault/deep",
		"../secret", "../disk/secret", disk + "/swap/secret", disk + "/swap"}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			him.Do(func() error {
				for n := 0; ctx.Err() == nil; n++ {
					dir := []string{root, root + "/b", disk, disk + "/d"}[r.IntN(4)]
					name := filepath.Join(dir, []string{"x", "y", "z"}[r.IntN(3)])
					os.Remove(name)
					os.Symlink(targets[r.IntN(len(targets))], name)
					swap := filepath.Join(disk, "swap")
					os.RemoveAll(swap)
					if r.IntN(2) == 0 {
						os.Mkdir(swap, 0o755)
						os.WriteFile(swap+"/secret", []byte("his"), 0o644)
					} else {
						os.Symlink(top+"/vault/deep", swap)
					}
					if n%50 == 0 {
						unix.Mkfifo(filepath.Join(disk, "pipe"), 0o666)
						os.Rename(filepath.Join(disk, "pipe"), filepath.Join(disk, "d/pipe"))
					}
				}
				return nil
			})
		})
	}
	walks, followed := 0, 0
	for ctx.Err() == nil {
		tree, err := Open(root, Options{User: him, Follow: []string{disk}})
		must(t, err)
		for e := range tree.Walk(ctx) {
			if e == nil || e.Type != source.File {
				continue
			}
			f, err := tree.Open(e.Path)
			if err != nil {
				continue
			}
			data, _ := io.ReadAll(f)
			f.Close()
			if strings.Contains(string(data), treasure) {
				t.Fatalf("%s is read", e.Path)
			}
			if strings.HasSuffix(e.Path, "/his") || strings.Contains(e.Path, "/d/") {
				followed++
			}
		}
		must(t, tree.Close())
		walks++
	}
	wg.Wait()
	if walks < 10 || followed == 0 {
		t.Errorf("%d walks, %d files by links", walks, followed)
	}
	if err := him.Do(func() error { _, err := os.ReadFile(filepath.Join(disk, "secret")); return err }); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("he can read the secret himself: %v", err)
	}
}
