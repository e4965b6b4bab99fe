package backup

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"permafrost/internal/snaptest"
	"permafrost/internal/storetest"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
	"permafrost/snapshot"
	"permafrost/snapshot/restore"
	"permafrost/source"
	"permafrost/source/redis"
)

// A whole instance, two nights of it, goes into a repository with the writer's key alone and comes back with the
// owner's: every byte of it.
func TestCreateAndRestore(t *testing.T) {
	inst := host(t)
	sand := instance.Sandbox(t)
	w := newWorld(t)
	extra := t.TempDir()
	snaptest.WriteFiles(t, extra, snaptest.File{Path: "etc/nginx.conf", Data: []byte("server {}\n")}, snaptest.File{Path: "empty"})

	first := w.create(inst, Options{Date: "2026-06-26", Tags: []string{"nightly"}, Version: "1.0", Secrets: []string{extra}})
	if first.Manifest.Media.LeftOut > 0 || first.Manifest.Boundary.LSN == "" || first.Manifest.Sidekiq == nil {
		t.Errorf("manifest: %+v", first.Manifest)
	}
	w.Verify(first.Ref, snapshot.NewInspector)
	dir := w.restore(first, restore.Options{})
	checkRestored(t, w, first, dir)
	snaptest.CompareTrees(t, inst.Media.Root, filepath.Join(dir, restoredMedia))
	if got, err := os.ReadFile(filepath.Join(dir, restoredSecrets, extra, "etc/nginx.conf")); err != nil || string(got) != "server {}\n" {
		t.Errorf("nginx.conf: %q, %v", got, err)
	}

	if err := sand.Churn(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	second := w.create(inst, Options{Date: "2026-06-27"})
	w.Verify(second.Ref, snapshot.NewInspector)
	w.Verify(first.Ref, snapshot.NewInspector)
	dir = w.restore(second, restore.Options{})
	checkRestored(t, w, second, dir)
	snaptest.CompareTrees(t, inst.Media.Root, filepath.Join(dir, restoredMedia))
	if c := second.Manifest.Media.Cost; c.Fresh == 0 || c.Fresh > c.Logical/2 {
		t.Errorf("the second night's media: %+v", c)
	}
	checkDiff(t, w, first, second)
}

// checkRestored checks all but the media, with the tools that a restore uses.
func checkRestored(t *testing.T, w *world, res *Result, dir string) {
	t.Helper()
	sum := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	sum.Dir = dir
	if out, err := sum.CombinedOutput(); err != nil {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
	inst := host(t)
	env, err := os.ReadFile(filepath.Join(dir, "env.production"))
	if err != nil || !bytes.Equal(env, inst.Env) {
		t.Errorf("env.production is not what it was: %v", err)
	}
	sand := instance.Sandbox(t)
	list, err := exec.Command(filepath.Join(sand.Postgres.BinDir, "pg_restore"), "--list", filepath.Join(dir, "mastodon_production.dump")).Output()
	if err != nil || !strings.Contains(string(list), "TABLE DATA public statuses") {
		t.Errorf("pg_restore --list: %v\n%.500s", err, list)
	}
	for _, name := range []string{"redis-dump.rdb", "sidekiq-redis-dump.rdb"} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := redis.CheckRDB(f); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		f.Close()
	}
	for part, name := range map[string]string{"postgres": "mastodon_production.dump", "redis": "redis-dump.rdb", "sidekiq": "sidekiq-redis-dump.rdb", "secrets": "env.production"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := snapshot.Dump(t.Context(), w.Open(w.Owner), res.Manifest, part, &got); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("dump of %s: %d bytes, want %d: %v", part, got.Len(), len(want), err)
		}
	}
}

// alike reports whether restores of two entries would be the same.
func alike(x, y snapshot.Entry) bool {
	for _, e := range []*snapshot.Entry{&x, &y} {
		e.CTime, e.Dev, e.Inode = 0, 0, 0
	}
	return reflect.DeepEqual(x, y)
}

// checkDiff compares Diff with what a comparison of both whole listings finds.
func checkDiff(t *testing.T, w *world, a, b *Result) {
	t.Helper()
	rd, err := w.Open(w.Writer).NewReader(t.Context(), a.Manifest.Instance)
	if err != nil {
		t.Fatal(err)
	}
	read := func(r *Result) map[string]*snapshot.Entry {
		all := make(map[string]*snapshot.Entry)
		for e, err := range snapshot.Entries(t.Context(), rd, r.Manifest, ".") {
			if err != nil {
				t.Fatal(err)
			}
			all[e.Path] = e
		}
		return all
	}
	old, now := read(a), read(b)
	want := 0
	for p, e := range old {
		if x := now[p]; x == nil || !alike(*x, *e) {
			want++
		}
	}
	for p := range now {
		if old[p] == nil {
			want++
		}
	}
	got := 0
	for c, err := range snapshot.Diff(t.Context(), rd, a.Manifest, b.Manifest) {
		if err != nil {
			t.Fatal(err)
		}
		if p := c.Path(); (c.Old == nil) != (old[p] == nil) || (c.New == nil) != (now[p] == nil) {
			t.Errorf("%s is told wrongly", p)
		}
		got++
	}
	if got != want || want == 0 {
		t.Errorf("%d changes, want %d", got, want)
	}
}

// An empty directory is never passed off as the media.
func TestCreateEmptyMedia(t *testing.T) {
	w := newWorld(t)
	inst := host(t)
	inst.Media.Root = snaptest.OpenDir(t)
	w.create(inst, Options{}) // a new instance has none
	snaptest.WriteFiles(t, inst.Media.Root, snaptest.File{Path: "a/b", Data: []byte("x")})
	w.create(inst, Options{})
	inst.Media.Root = snaptest.OpenDir(t)
	res := w.create(inst, Options{})
	if len(res.Failures) != 1 || res.Manifest.Media.State != snapshot.Failed || source.CauseOf(res.Failures[0].Err).Cause != CauseEmptyMedia {
		t.Errorf("an empty directory is taken: %+v", res.Failures)
	}
	w.create(inst, Options{AllowEmptyMedia: true})
}

// What an Inspector tells is enough: after a prune the snapshots that are left come back whole.
func TestPruneKeepsWhatIsNeeded(t *testing.T) {
	w := newWorld(t)
	inst := host(t)
	root := snaptest.OpenDir(t)
	inst.Media.Root = root
	snaptest.WriteFiles(t, root, snaptest.File{Path: "a/stays", Data: storetest.Random(1, 3<<20)}, snaptest.File{Path: "a/goes", Data: storetest.Random(2, 3<<20)}, snaptest.File{Path: "a/large", Data: storetest.Random(3, 40<<20)})
	first := w.create(inst, Options{})
	if err := os.Remove(filepath.Join(root, "a/goes")); err != nil {
		t.Fatal(err)
	}
	snaptest.WriteFiles(t, root, snaptest.File{Path: "b/new", Data: []byte("new")})
	second := w.create(inst, Options{})
	r := w.Open(w.Owner)
	if err := upkeep.Forget(t.Context(), r, []store.Name{first.Ref.ID}); err != nil {
		t.Fatal(err)
	}
	out, err := upkeep.Prune(t.Context(), r, snapshot.NewInspector, upkeep.PruneOptions{})
	if err != nil || out.Freed < 3<<20 {
		t.Fatalf("prune: %+v, %v", out, err)
	}
	w.Verify(second.Ref, snapshot.NewInspector)
	snaptest.CompareTrees(t, root, filepath.Join(w.restore(second, restore.Options{TrustMedia: true}), restoredMedia))
}

// Media in object storage are named and not passed off as captured.
func TestCreateExternal(t *testing.T) {
	w := newWorld(t)
	inst := host(t)
	inst.Media.External = &source.External{Kind: "s3", Bucket: "glacier-media", Endpoint: "https://s3.example"}
	res := w.create(inst, Options{})
	m := res.Manifest
	if m.Media.State != snapshot.External || m.Media.Listing.Entries != 0 {
		t.Errorf("%+v", m)
	}
	w.Verify(res.Ref, snapshot.NewInspector)
	dir := w.restore(res, restore.Options{})
	if _, err := os.Lstat(filepath.Join(dir, restoredMedia)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("public-system: %v", err)
	}
	if err := snapshot.Dump(t.Context(), w.Open(w.Owner), m, "media/a", io.Discard); err == nil || !strings.Contains(err.Error(), "glacier-media") {
		t.Errorf("dump of media: %v", err)
	}
	inst = host(t)
	inst.Media.Root = snaptest.OpenDir(t)
	w.create(inst, Options{}) // a move back to a local tree has nothing to compare with
}
