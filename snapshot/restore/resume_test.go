package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"permafrost/snapshot/backup"

	"permafrost/internal/snaptest"
	"permafrost/source"

	"golang.org/x/sys/unix"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// A counted store tells how many bytes were read.
type counted struct {
	store.Store
	bytes atomic.Int64
	limit int64 // bytes of which no more are given: a read of a pack beyond them calls stop; 0: none
	stop  func()
}

func (c *counted) ReadAt(ctx context.Context, name string, p []byte, off int64) (int, error) {
	n, err := c.Store.ReadAt(ctx, name, p, off)
	if sum := c.bytes.Add(int64(n)); strings.HasPrefix(name, "packs/") && c.limit > 0 && sum > c.limit {
		c.stop()
		return 0, ctx.Err()
	}
	return n, err
}

// restoreVia restores through a store that counts, which ends it after so many bytes, and returns what was read.
func (w *world) restoreVia(limit int64, ref ledger.SnapshotRef, o Options) (*Result, int64, error) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	c := &counted{Store: w.Store, limit: limit, stop: cancel}
	r, err := repo.Open(ctx, c, w.Owner, repo.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	c.bytes.Store(0)
	res, err := Restore(ctx, r, ref, o)
	return res, c.bytes.Load(), err
}

// resumeWorld is a snapshot of 200 files and more, and the directory that it was made of.
func resumeWorld(t *testing.T) (w *world, res *backup.Result, root string) {
	t.Helper()
	inst := host(t)
	root = snaptest.OpenDir(t)
	inst.Media.Root = root
	for i := range 200 {
		snaptest.WriteFiles(t, root, snaptest.File{Path: fmt.Sprintf("d%d/f%d", i%7, i), Data: storetest.Random(uint64(i), 100_000)})
	}
	snaptest.WriteFiles(t, root, snaptest.File{Path: "a/large", Data: storetest.Random(999, 9<<20)}, snaptest.File{Path: "b/link", Link: "a/large"}, snaptest.File{Path: "empty"})
	if err := os.Symlink("a/large", filepath.Join(root, "symlink")); err != nil {
		t.Fatal(err)
	}
	w = newWorld(t)
	return w, w.create(inst, backup.Options{}), root
}

// A restore that was interrupted goes on with the same command. A finished one fetches no content; what a crash of the machine may
// have spoilt is read.
func TestRestoreGoesOn(t *testing.T) {
	w, res, root := resumeWorld(t)
	o := Options{Target: filepath.Join(t.TempDir(), "restored"), TrustMedia: true}
	_, all, err := w.restoreVia(0, res.Ref, Options{Target: filepath.Join(t.TempDir(), "whole")})
	if err != nil {
		t.Fatal(err)
	}
	resumed := 0
	o.Begin = func(again bool) {
		if again {
			resumed++
		}
	}
	for i := range 4 {
		if _, n, err := w.restoreVia(all/3, res.Ref, o); !errors.Is(err, context.Canceled) {
			t.Fatalf("interruption %d after %d bytes: %v", i, n, err)
		}
		if i == 1 {
			break
		}
	}
	other := w.create(host(t), backup.Options{})
	if _, _, err := w.restoreVia(0, other.Ref, o); err == nil || !strings.Contains(err.Error(), "unfinished restore of snapshot "+res.Ref.ID.Short()) || !reflect.DeepEqual(source.CauseOf(err), source.Reason{Cause: CauseTargetOther, Facts: []string{res.Ref.ID.Short()}}) {
		t.Errorf("another snapshot in an unfinished target: %v, %q", err, source.CauseOf(err))
	}
	out, last, err := w.restoreVia(0, res.Ref, o)
	if err != nil {
		t.Fatal(err)
	}
	if resumed != 2 || out.KeptFiles == 0 || last > all-out.KeptBytes/2 {
		t.Errorf("resumed %d times; %d bytes of %d were read though %d files of %d bytes were there", resumed, last, all, out.KeptFiles, out.KeptBytes)
	}
	snaptest.CompareTrees(t, root, filepath.Join(o.Target, mediaDir))

	out, again, err := w.restoreVia(0, res.Ref, o)
	if err != nil || out.Files != 0 || out.Bytes != 0 || again > all/10 || resumed != 2 {
		t.Errorf("a finished restore: %+v, %d bytes of %d read, %v", out, again, all, err)
	}

	// The machine crashes: files have their names, sizes and times, and one of them not its content.
	state := filepath.Join(o.Target, stateName)
	data, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.Replace(bytes.Replace(data, []byte(`"finished":true`), []byte(`"finished":false`), 1), []byte(bootID()), []byte("an earlier one"), 1)
	spoilt := filepath.Join(o.Target, mediaDir, "d3/f3")
	info, err := os.Stat(spoilt)
	if err == nil {
		err = errors.Join(os.WriteFile(state, data, 0o600), os.WriteFile(spoilt, make([]byte, info.Size()), 0o644), os.Chtimes(spoilt, info.ModTime(), info.ModTime()))
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.restoreVia(all/1000, res.Ref, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("not interrupted: %v", err)
	}
	out, again, err = w.restoreVia(0, res.Ref, o)
	if err != nil || out.Files != 1 || again > all/5 {
		t.Errorf("after a crash: %+v, %d bytes of %d read, %v", out, again, all, err)
	}
	snaptest.CompareTrees(t, root, filepath.Join(o.Target, mediaDir))
}

// What is in the target already stays, is replaced or is removed, as it was said; and a dry run tells the same.
func TestRestoreInto(t *testing.T) {
	w, res, root := resumeWorld(t)
	for name, c := range map[string]struct {
		o              Options
		old, same      string // what files have then that differed, and that differed in size and time alone
		extra, skipped bool   // whether a file is there that the snapshot does not have, and one that is not meant
	}{
		"if-changed": {Options{Overwrite: IfChanged}, "new", "old", true, true},
		"always":     {Options{Overwrite: Always}, "new", "new", true, true},
		"never":      {Options{Overwrite: Never}, "old", "old", true, true},
		"delete":     {Options{Delete: true}, "new", "old", false, true},
		"force":      {Options{Force: true}, "new", "old", true, true},
		"include":    {Options{Delete: true, Include: []string{"d1/", "d2/**"}}, "new", "old", false, false},
		"exclude":    {Options{Delete: true, Exclude: []string{"d4", "a"}}, "new", "old", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Target, c.o.Components, c.o.TrustMedia = t.TempDir(), []string{"media"}, true
			tree := filepath.Join(c.o.Target, mediaDir)
			at := func(name string) string { return filepath.Join(tree, name) }
			snaptest.WriteFiles(t, tree, snaptest.File{Path: "d1/f1", Data: []byte("differs")}, snaptest.File{Path: "d1/extra"}, snaptest.File{Path: "d2/more/extra"},
				snaptest.File{Path: "d2/f2", Data: make([]byte, 100_000)}, snaptest.File{Path: "d1/f8", Data: storetest.Random(8, 100_000)}, snaptest.File{Path: "d4/kept"})
			info, err := os.Stat(filepath.Join(root, "d2/f2"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(at("d2/f2"), info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadDir(tree)
			planned := make(map[string]Action)
			dry := c.o
			dry.Preview = func(p Planned) { planned[string(p.Path)] = p.Action }
			if _, _, err := w.restoreVia(0, res.Ref, dry); err != nil {
				t.Fatal(err)
			}
			if after, err2 := os.ReadDir(tree); err != nil || err2 != nil || len(after) != len(before) {
				t.Errorf("a dry run changed something: %v, %v", err, err2)
			}
			out, _, err := w.restoreVia(0, res.Ref, c.o)
			if err != nil {
				t.Fatal(err)
			}
			check := func(name, is string) {
				t.Helper()
				data, err := os.ReadFile(at(name))
				want, _ := os.ReadFile(filepath.Join(root, name))
				if got := map[bool]string{true: "new", false: "old"}[bytes.Equal(data, want)]; err != nil || got != is {
					t.Errorf("%s is %s, want %s: %v", name, got, is, err)
				}
				action := map[string]Action{"new": WouldWrite, "old": WouldKeep}[is]
				if planned[mediaDir+"/"+name] != action {
					t.Errorf("%s was planned to %s", name, planned[mediaDir+"/"+name])
				}
			}
			check("d1/f1", c.old)
			check("d2/f2", c.same)
			if out.KeptFiles == 0 || planned[mediaDir+"/d1/f8"] != WouldKeep {
				t.Errorf("a file with the same content was not kept: %+v", out)
			}
			for name, there := range map[string]bool{"d1/extra": c.extra, "d2/more": c.extra, "d2/more/extra": c.extra, "d4/f4": c.skipped, "a/large": c.skipped,
				"d4/kept": name != "delete"} {
				_, err := os.Lstat(at(name))
				if (err == nil) != there {
					t.Errorf("%s: there %v, want %v", name, err == nil, there)
				}
				if gone := planned[mediaDir+"/"+name] == WouldDelete; strings.Contains(name, "extra") && gone == there {
					t.Errorf("%s was planned to be deleted: %v", name, gone)
				}
			}
			if (out.Deleted > 0) != !c.extra {
				t.Errorf("%d deleted", out.Deleted)
			}
		})
	}
}

// A further name whose first name is not meant is a file of its own.
func TestRestoreLinkAlone(t *testing.T) {
	w, res, root := resumeWorld(t)
	dir := w.restore(res, Options{Components: []string{"media"}, Include: []string{"b/"}})
	want, _ := os.ReadFile(filepath.Join(root, "a/large"))
	if got, err := os.ReadFile(filepath.Join(dir, mediaDir, "b/link")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes: %v", len(got), err)
	}
	if names, err := os.ReadDir(filepath.Join(dir, mediaDir)); err != nil || len(names) != 1 {
		t.Errorf("%v, %v", names, err)
	}
}

// What the target refuses is named and counted, and the rest is there.
func TestRestoreRefused(t *testing.T) {
	w, res, root := resumeWorld(t)
	o := Options{Target: t.TempDir(), Components: []string{"media"}, Overwrite: IfChanged, TrustMedia: true}
	tree := filepath.Join(o.Target, mediaDir)
	snaptest.WriteFiles(t, tree, snaptest.File{Path: "d1/f1/in/the/way"}, snaptest.File{Path: "a"})
	var warned []string
	o.Warn = func(err error) { warned = append(warned, err.Error()) }
	out, _, err := w.restoreVia(0, res.Ref, o)
	if err != nil {
		t.Fatal(err)
	}
	refused := make(map[string]bool)
	for _, l := range out.RefusedList {
		refused[string(l.Path)] = true
	}
	if out.Refused != 3 || !refused[mediaDir+"/d1/f1"] || !refused[mediaDir+"/a/large"] || len(warned) < 2 || !strings.Contains(strings.Join(warned, "\n"), "d1/f1 was left out") {
		t.Errorf("refused %+v; warned %q", out.RefusedList, warned)
	}
	n := 0
	filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	})
	if n != 200-1+1+2 { // but f1; empty; and the two in the way
		t.Errorf("%d files", n)
	}
	// What is in the way may go with what the snapshot does not have.
	o.Delete = true
	if out, _, err := w.restoreVia(0, res.Ref, o); err != nil || out.Refused != 0 {
		t.Errorf("%+v, %v", out, err)
	}
	snaptest.CompareTrees(t, root, tree)
}

// A file that has the content and not the attributes is not fetched. Where root restores, it may be another name of a file elsewhere,
// which does not change.
func TestRestoreAdopts(t *testing.T) {
	w, res, root := resumeWorld(t)
	o := Options{Target: t.TempDir(), Components: []string{"media"}, Overwrite: IfChanged, TrustMedia: true}
	tree := filepath.Join(o.Target, mediaDir)
	outside := filepath.Join(o.Target, "outside")
	snaptest.WriteFiles(t, o.Target, snaptest.File{Path: "outside", Data: storetest.Random(1, 100_000)}, snaptest.File{Path: mediaDir + "/d1/f1", Link: "outside"}, snaptest.File{Path: mediaDir + "/d2/f2", Data: storetest.Random(2, 100_000)})
	if err := os.Chmod(outside, 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(outside)
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := w.restoreVia(0, res.Ref, o)
	if err != nil || out.KeptFiles != 2 || out.KeptBytes != 200_000 {
		t.Errorf("%+v, %v", out, err)
	}
	snaptest.CompareTrees(t, root, tree)
	after, err := os.Stat(outside)
	if err != nil || os.Geteuid() == 0 && (after.Mode() != before.Mode() || !after.ModTime().Equal(before.ModTime())) {
		t.Errorf("%v %v became %v %v: %v", before.Mode(), before.ModTime(), after.Mode(), after.ModTime(), err)
	}
}

// What this process may not write is refused file by file, in a tree that is another user's. The owners that it can't give are counted.
func TestRestoreAsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test is about a tree of another user's than root's: run it as root")
	}
	w, res, root := resumeWorld(t)
	const uid = 54321
	o := Options{Target: t.TempDir(), Components: []string{"media"}, Overwrite: IfChanged, TrustMedia: true}
	tree := filepath.Join(o.Target, mediaDir)
	snaptest.WriteFiles(t, tree, snaptest.File{Path: "d1/mine"})
	if err := errors.Join(os.Chown(tree, uid, uid), os.Chmod(filepath.Join(tree, "d1"), 0o755)); err != nil { // d1 is root's
		t.Fatal(err)
	}
	out, _, err := w.restoreVia(0, res.Ref, o)
	if err != nil {
		t.Fatal(err)
	}
	inD1, _ := filepath.Glob(filepath.Join(root, "d1/*"))
	if out.Refused != len(inD1) {
		t.Errorf("%d refused, want %d: %+v", out.Refused, len(inD1), out.RefusedList)
	}
	if len(out.Owners) != 1 || out.Owners[0].UID != 0 || out.Owners[0].Files < 150 {
		t.Errorf("owners %+v", out.Owners)
	}
	for name, want := range map[string]uint32{"d2/f2": uid, "d2": uid, "d1": 0, "d1/mine": 0} {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(tree, name), &st); err != nil || st.Uid != want {
			t.Errorf("%s belongs to %d: %v", name, st.Uid, err)
		}
	}
	again, _, err := w.restoreVia(0, res.Ref, o)
	if err != nil || again.Files != 0 || len(again.Owners) != 1 || again.Owners[0].UID != 0 || again.Owners[0].Files < 150 {
		t.Errorf("what is there and not its owner's: %+v, %v", again, err)
	}
}

// What is there already needs no room once more.
func TestRestoreRoomAgain(t *testing.T) {
	w, res, root := resumeWorld(t) // 29 MB
	o := Options{Target: mount(t, "size=36m"), Components: []string{"media"}, TrustMedia: true}
	_, all, err := w.restoreVia(0, res.Ref, Options{Target: t.TempDir(), Components: []string{"media"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.restoreVia(all*2/3, res.Ref, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("not interrupted: %v", err)
	}
	if _, _, err := w.restoreVia(0, res.Ref, o); err != nil {
		t.Fatal(err)
	}
	snaptest.CompareTrees(t, root, filepath.Join(o.Target, mediaDir))
}

// A dump that was under way when the restore was killed goes on; one that was made up by somebody else does not become the dump.
func TestRestoreDumpGoesOn(t *testing.T) {
	w, res, _ := resumeWorld(t)
	name := dumpFile(res.Manifest)
	want, err := os.ReadFile(filepath.Join(w.restore(res, Options{Components: []string{"postgres"}}), name))
	if err != nil {
		t.Fatal(err)
	}
	part := want[:len(want)*2/3]
	for who, mode := range map[string]fs.FileMode{"ours": 0o600, "anybody's": 0o666} {
		o := Options{Target: t.TempDir(), Components: []string{"postgres"}, Overwrite: IfChanged}
		path := filepath.Join(o.Target, name+".partial")
		if err := errors.Join(os.WriteFile(path, part, 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		out, _, err := w.restoreVia(0, res.Ref, o)
		if err != nil {
			t.Fatal(err)
		}
		if ours := out.KeptBytes > int64(len(want)/2); ours != (who == "ours") || out.KeptBytes+out.Bytes != int64(len(want)) {
			t.Errorf("%s: %d of %d bytes were kept, %d written", who, out.KeptBytes, len(want), out.Bytes)
		}
		info, err := os.Stat(filepath.Join(o.Target, name))
		got, err2 := os.ReadFile(filepath.Join(o.Target, name))
		if err != nil || err2 != nil || !bytes.Equal(got, want) || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", who, err, err2)
		}
	}
}
