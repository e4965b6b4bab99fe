package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"permafrost/internal/snaptest"
	"permafrost/repo/ledger"
	"permafrost/snapshot"
	"permafrost/snapshot/restore"
	"permafrost/source"
	"permafrost/source/media"
)

// onlyMedia makes a snapshot of the media alone, and returns what was said.
func onlyMedia(t *testing.T, w *world, inst *source.Instance, o Options) (*Result, []string) {
	t.Helper()
	var said []string
	o.Skip, o.Warn = []string{"secrets", "postgres", "redis"}, func(err error) { said = append(said, err.Error()) }
	res := w.create(inst, o)
	w.Verify(res.Ref, snapshot.NewInspector)
	return res, said
}

// A directory that was moved to another disk is left out and named, with the line to add; with that line it is stored, and comes back
// in its old place.
func TestCreateFollows(t *testing.T) {
	w, inst := newWorld(t), host(t)
	inst.Media.Root = snaptest.OpenDir(t)
	disk := snaptest.OpenDir(t)
	snaptest.WriteFiles(t, inst.Media.Root, snaptest.File{Path: "accounts/a", Data: []byte("a")})
	snaptest.WriteFiles(t, disk, snaptest.File{Path: "media_attachments/files/b", Data: []byte("bb")}, snaptest.File{Path: "media_attachments/c", Data: []byte("ccc")})
	if err := os.Symlink(filepath.Join(disk, "media_attachments"), filepath.Join(inst.Media.Root, "media_attachments")); err != nil {
		t.Fatal(err)
	}
	res, said := onlyMedia(t, w, inst, Options{})
	m := &res.Manifest.Media
	advice := `below [media]: follow = ["` + filepath.Join(disk, "media_attachments") + `"]`
	if m.LeftOut != 1 || m.Files != 1 || res.Ref.Partial != 1 || len(said) != 2 || !strings.Contains(said[0], "media_attachments was left out") || !strings.HasSuffix(said[1], advice) {
		t.Errorf("%+v, said %q", m, said)
	}
	for _, dir := range []string{disk, filepath.Join(disk, "media_attachments")} {
		res, said = onlyMedia(t, w, inst, Options{Media: media.Options{Follow: []string{dir}}})
		m = &res.Manifest.Media
		if m.LeftOut != 0 || m.Files != 3 || len(said) > 0 || len(m.Follow) != 1 {
			t.Errorf("%+v, said %q", m, said)
		}
		restored := w.restore(res, restore.Options{Components: []string{"media"}, TrustMedia: true})
		snaptest.CompareTrees(t, filepath.Join(disk, "media_attachments"), filepath.Join(restored, restoredMedia, "media_attachments"))
	}
	want := map[string]ledger.Class{"accounts": {Files: 1, Size: 1}, "media_attachments": {Files: 2, Size: 5}}
	if got := res.Ref.Holding.Media; got.Files != 3 || len(got.Classes) != 2 || got.Classes["accounts"] != want["accounts"] || got.Classes["media_attachments"] != want["media_attachments"] {
		t.Errorf("the log says %+v", got)
	}
	if _, said = onlyMedia(t, w, inst, Options{Media: media.Options{Follow: []string{disk, t.TempDir()}}}); len(said) != 1 || !strings.Contains(said[0], "no link leads into") {
		t.Errorf("said %q", said)
	}
}

// Several links that lead out are named one by one, and one line follows all of them, beside what is followed already.
func TestCreateFollowAdvice(t *testing.T) {
	w, inst := newWorld(t), host(t)
	inst.Media.Root = snaptest.OpenDir(t)
	snaptest.WriteFiles(t, inst.Media.Root, snaptest.File{Path: "accounts/a", Data: []byte("a")})
	link := func(name, target string) string {
		dir := filepath.Join(snaptest.OpenDir(t), target)
		if err := errors.Join(os.Mkdir(dir, 0o755), os.Symlink(dir, filepath.Join(inst.Media.Root, name))); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	followed := link("followed", "f")
	var dirs []string
	for i := range maxLeads + 2 {
		dirs = append(dirs, link(fmt.Sprintf("link%02d", i), "x"))
	}
	if err := os.Symlink(dirs[0], filepath.Join(inst.Media.Root, "again")); err != nil {
		t.Fatal(err)
	}
	res, said := onlyMedia(t, w, inst, Options{Media: media.Options{Follow: []string{followed}}})
	slices.Sort(dirs[:maxLeads])
	line := `follow = ["` + strings.Join(append([]string{followed}, dirs[:maxLeads]...), `", "`) + `"]. These are the first 20: there are more`
	if n := len(said); res.Manifest.Media.LeftOut != maxLeads+3 || n != maxLeads+4 || !strings.HasSuffix(said[n-1], line) ||
		strings.Count(strings.Join(said, ""), "follow = [") != 1 {
		t.Errorf("%d left out, said %q, want %s", res.Manifest.Media.LeftOut, said, line)
	}
}

// Media that were copied are read again, which is said with the settings that spare it; with them they are not.
func TestCreateRereads(t *testing.T) {
	w, inst := newWorld(t), host(t)
	root := snaptest.OpenDir(t)
	inst.Media.Root = root
	past := time.Now().Add(-time.Hour)
	const files = fewReread + 5
	fill := func() {
		old := snaptest.OpenDir(t) // while a file is there nothing else has its inode
		defer os.RemoveAll(old)
		for i := range files {
			name := fmt.Sprintf("accounts/%d", i)
			if err := os.Rename(filepath.Join(root, name), filepath.Join(old, fmt.Sprint(i))); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			snaptest.WriteFiles(t, root, snaptest.File{Path: name, Data: []byte(name)})
			if err := os.Chtimes(filepath.Join(root, name), past, past); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill()
	time.Sleep(racyWindow + time.Second/2)
	onlyMedia(t, w, inst, Options{})
	fill()
	res, said := onlyMedia(t, w, inst, Options{})
	if res.Manifest.Media.Reread != files || len(said) != 1 || !strings.Contains(said[0], fmt.Sprint(files, " files of")) ||
		!strings.Contains(said[0], "ignore_ctime = true") || !strings.Contains(said[0], "ignore_inode = true") {
		t.Errorf("%d files read again, said %q", res.Manifest.Media.Reread, said)
	}
	fill()
	res, said = onlyMedia(t, w, inst, Options{IgnoreCTime: true, IgnoreInode: true})
	if res.Manifest.Media.Reread != 0 || len(said) > 0 {
		t.Errorf("%d files read again, said %q", res.Manifest.Media.Reread, said)
	}
}

// Where media are in object storage, what still lies on the disk is counted, and said to be stored nowhere.
func TestCreateExternalWithLocalFiles(t *testing.T) {
	w, inst := newWorld(t), host(t)
	inst.Media.External = &source.External{Kind: "s3", Bucket: "b"}
	inst.Media.Root = snaptest.OpenDir(t)
	snaptest.WriteFiles(t, inst.Media.Root, snaptest.File{Path: "accounts/a", Data: []byte("a")}, snaptest.File{Path: "media_attachments/b"}, snaptest.File{Path: "cache/c"}, snaptest.File{Path: ".gitkeep"})
	for root, want := range map[string]int64{inst.Media.Root: 2, filepath.Join(inst.Media.Root, "absent"): 0, snaptest.OpenDir(t): 0} {
		inst.Media.Root = root
		var said []string
		res := w.create(inst, Options{Skip: []string{"redis"}, Warn: func(err error) { said = append(said, err.Error()) }})
		told := slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, fmt.Sprintf("still holds %d files", want)) })
		if got := res.Ref.Holding.Media; got.State != snapshot.External || got.Local != want || told != (want > 0) || res.Manifest.Media.Local != want {
			t.Errorf("%s: %+v, said %q", root, got, said)
		}
	}
}
