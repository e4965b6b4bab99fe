package snapshot

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"permafrost/internal/snaptest"
	"permafrost/snapshot/stream"

	"golang.org/x/sys/unix"

	"permafrost/chunk"
	"permafrost/internal/hint"
	"permafrost/internal/hostfs"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/store"
	"permafrost/source"
	"permafrost/source/media"
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

	first := w.create(inst, CreateOptions{Date: "2026-06-26", Tags: []string{"nightly"}, Version: "1.0", Secrets: []string{extra}})
	if first.Manifest.Media.LeftOut > 0 || first.Manifest.Boundary.LSN == "" || first.Manifest.Sidekiq == nil {
		t.Errorf("manifest: %+v", first.Manifest)
	}
	w.Verify(first.Ref, NewInspector)
	dir := w.restore(first, RestoreOptions{})
	checkRestored(t, w, first, dir)
	snaptest.CompareTrees(t, inst.Media.Root, filepath.Join(dir, mediaDir))
	if got, err := os.ReadFile(filepath.Join(dir, secretsDir, extra, "etc/nginx.conf")); err != nil || string(got) != "server {}\n" {
		t.Errorf("nginx.conf: %q, %v", got, err)
	}

	if err := sand.Churn(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	second := w.create(inst, CreateOptions{Date: "2026-06-27"})
	w.Verify(second.Ref, NewInspector)
	w.Verify(first.Ref, NewInspector)
	dir = w.restore(second, RestoreOptions{})
	checkRestored(t, w, second, dir)
	snaptest.CompareTrees(t, inst.Media.Root, filepath.Join(dir, mediaDir))
	if c := second.Manifest.Media.Cost; c.Fresh == 0 || c.Fresh > c.Logical/2 {
		t.Errorf("the second night's media: %+v", c)
	}
	checkDiff(t, w, first, second)
}

// checkRestored checks all but the media, with the tools that a restore uses.
func checkRestored(t *testing.T, w *world, res *Result, dir string) {
	t.Helper()
	sum := exec.Command("sha256sum", "--check", "--strict", sumsName)
	sum.Dir = dir
	if out, err := sum.CombinedOutput(); err != nil {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
	inst := host(t)
	env, err := os.ReadFile(filepath.Join(dir, envName))
	if err != nil || !bytes.Equal(env, inst.Env) {
		t.Errorf("env.production is not what it was: %v", err)
	}
	sand := instance.Sandbox(t)
	list, err := exec.Command(filepath.Join(sand.Postgres.BinDir, "pg_restore"), "--list", filepath.Join(dir, "mastodon_production.dump")).Output()
	if err != nil || !strings.Contains(string(list), "TABLE DATA public statuses") {
		t.Errorf("pg_restore --list: %v\n%.500s", err, list)
	}
	for _, name := range []string{redisName, sidekiqName} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := redis.CheckRDB(f); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		f.Close()
	}
	for part, name := range map[string]string{"postgres": "mastodon_production.dump", "redis": redisName, "sidekiq": sidekiqName, "secrets": envName} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := Dump(t.Context(), w.Open(w.Owner), res.Manifest, part, &got); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("dump of %s: %d bytes, want %d: %v", part, got.Len(), len(want), err)
		}
	}
}

// Every kind of file comes back as it was.
func TestRestoreOddTree(t *testing.T) {
	inst := host(t)
	root := t.TempDir()
	inst.Media.Root = root
	snaptest.WriteFiles(t, root, snaptest.File{Path: "a/one", Data: []byte("1")}, snaptest.File{Path: "a.b/two", Link: "a/one"}, snaptest.File{Path: "z/last", Link: "a/one"},
		snaptest.File{Path: "n/\xff\n\"'\\", Data: []byte("name")}, snaptest.File{Path: "n/empty"}, snaptest.File{Path: "n/twin", Data: []byte("1")},
		snaptest.File{Path: "l/nine", Data: storetest.Random(1, 9<<20)}, snaptest.File{Path: "l/forty", Data: storetest.Random(2, 40<<20)})
	at := func(p string) string { return filepath.Join(root, p) }
	sparse, err := os.Create(at("sparse"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = sparse.WriteAt([]byte("island"), 30<<20)
	if err := errors.Join(err, sparse.Truncate(50<<20), sparse.Close(),
		os.Symlink("../a/\xfe", at("n/link")), unix.Mkfifo(at("n/fifo"), 0o620), unix.Mknod(at("n/null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))),
		unix.Setxattr(at("n/twin"), "user.note", []byte{0, 1, 2}, 0), unix.Setxattr(at("n"), "user.note", []byte("dir"), 0),
		os.Chown(at("n/twin"), 4242, 4243), os.Chmod(at("n/twin"), 0o4711), os.Chmod(at("z"), 0o1500), os.Mkdir(at("void"), 0o000),
		os.Chtimes(at("a/one"), time.Unix(1, 5), time.Unix(1, 5)), os.Chtimes(at("n"), time.Unix(-7, 9), time.Unix(-7, 9))); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	res := w.create(inst, CreateOptions{Media: media.Options{User: new(hostfs.User)}}) // root, who may read all of it
	w.Verify(res.Ref, NewInspector)
	dir := w.restore(res, RestoreOptions{Components: []string{"media"}, TrustMedia: true})
	snaptest.CompareTrees(t, root, filepath.Join(dir, mediaDir))
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, mediaDir, "sparse"), &st); err != nil || st.Blocks*512 > 1<<20 {
		t.Errorf("the sparse file occupies %d bytes: %v", st.Blocks*512, err)
	}
	for what, want := range map[string]string{"media/a/one": "1", "media/z/last": "1", "media/n/\xff\n\"'\\": "name"} {
		var b bytes.Buffer
		if err := Dump(t.Context(), w.Open(w.Owner), res.Manifest, what, &b); err != nil || b.String() != want {
			t.Errorf("%q: %q, %v", what, b.String(), err)
		}
	}
	for _, what := range []string{"media", "media/a", "media/nothing", "media/../a/one", "nothing", "secrets/nothing", ""} {
		if err := Dump(t.Context(), w.Open(w.Owner), res.Manifest, what, io.Discard); err == nil {
			t.Errorf("%q is dumped", what)
		}
	}
}

// checkDiff compares Diff with what a comparison of both whole listings finds.
func checkDiff(t *testing.T, w *world, a, b *Result) {
	t.Helper()
	rd, err := w.Open(w.Writer).NewReader(t.Context(), a.Manifest.Instance)
	if err != nil {
		t.Fatal(err)
	}
	read := func(r *Result) map[string]*Entry {
		all := make(map[string]*Entry)
		for e, err := range Entries(t.Context(), rd, r.Manifest, ".") {
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
		if x := now[p]; x == nil || !x.same(e) {
			want++
		}
	}
	for p := range now {
		if old[p] == nil {
			want++
		}
	}
	got := 0
	for c, err := range Diff(t.Context(), rd, a.Manifest, b.Manifest) {
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

// What the host's key wrote it can't read back.
func TestRestoreNeedsOwner(t *testing.T) {
	w := newWorld(t)
	inst := host(t)
	inst.Media.Root = snaptest.OpenDir(t)
	res := w.create(inst, CreateOptions{})
	_, err := Restore(t.Context(), w.Open(w.Writer), res.Ref, RestoreOptions{Target: filepath.Join(t.TempDir(), "x")})
	var missing *keys.MissingKeyError
	if !errors.As(err, &missing) {
		t.Errorf("restored with a writer's key: %v", err)
	}
}

// An empty directory is never passed off as the media.
func TestCreateEmptyMedia(t *testing.T) {
	w := newWorld(t)
	inst := host(t)
	inst.Media.Root = snaptest.OpenDir(t)
	w.create(inst, CreateOptions{}) // a new instance has none
	snaptest.WriteFiles(t, inst.Media.Root, snaptest.File{Path: "a/b", Data: []byte("x")})
	w.create(inst, CreateOptions{})
	inst.Media.Root = snaptest.OpenDir(t)
	res := w.create(inst, CreateOptions{})
	if len(res.Failures) != 1 || res.Manifest.Media.State != Failed || hint.Of(res.Failures[0].Err) == "" {
		t.Errorf("an empty directory is taken: %+v", res.Failures)
	}
	w.create(inst, CreateOptions{AllowEmptyMedia: true})
}

func TestRestoreTarget(t *testing.T) {
	w := newWorld(t)
	inst := host(t)
	inst.Media.Root = snaptest.OpenDir(t)
	snaptest.WriteFiles(t, inst.Media.Root, snaptest.File{Path: "a/b", Data: []byte("x")})
	res := w.create(inst, CreateOptions{})
	dir := t.TempDir()
	snaptest.WriteFiles(t, dir, snaptest.File{Path: "precious"})
	r := w.Open(w.Owner)
	if _, err := Restore(t.Context(), r, res.Ref, RestoreOptions{Target: dir}); err == nil || hint.Of(err) == "" {
		t.Errorf("a directory that is not empty is taken: %v", err)
	}
	if _, err := Restore(t.Context(), r, res.Ref, RestoreOptions{Target: t.TempDir(), Components: []string{"postgers"}}); err == nil {
		t.Error("an unknown component is taken")
	}
	if _, err := Restore(t.Context(), r, res.Ref, RestoreOptions{Target: dir, Force: true, Components: []string{"secrets"}}); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]bool{envName: true, "precious": true, sumsName: true, redisName: false, mediaDir: false} {
		if _, err := os.Lstat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What is of this snapshot is gone on with, a component at a time, and all of it is in SHA256SUMS.
	var told map[string]bool
	texts := func(r *Restored) ([]TextFile, error) {
		told = r.Components
		return nil, nil
	}
	if _, err := Restore(t.Context(), r, res.Ref, RestoreOptions{Target: dir, Components: []string{"redis"}, Texts: texts}); err != nil {
		t.Error(err)
	}
	if want := map[string]bool{"secrets": true, "redis": true, "postgres": false, "media": false}; !maps.Equal(told, want) {
		t.Errorf("the texts are told of %v, want %v", told, want)
	}
	for name, texts := range map[string][]string{sumsName: {"  " + envName + "\n", "  " + redisName + "\n"}} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		for _, text := range texts {
			if !strings.Contains(string(data), text) {
				t.Errorf("%s does not have %q: %v\n%s", name, text, err, data)
			}
		}
	}
}

// Damage in the repository loses what is damaged, by name, and nothing else.
func TestRestoreDamaged(t *testing.T) {
	t.Run("flipped", func(t *testing.T) {
		testRestoreDamaged(t, func(m *storetest.Mem, pack string) { m.Corrupt(pack, 700<<10) })
	})
	t.Run("gone", func(t *testing.T) { testRestoreDamaged(t, (*storetest.Mem).Delete) })
}

func testRestoreDamaged(t *testing.T, damage func(m *storetest.Mem, pack string)) {
	w := newWorld(t)
	inst := host(t)
	inst.Media.Root = snaptest.OpenDir(t)
	snaptest.WriteFiles(t, inst.Media.Root, snaptest.File{Path: "a/old", Data: []byte("old")}, snaptest.File{Path: "a/other", Link: "a/old"})
	w.create(inst, CreateOptions{})
	before := w.Store.Names()
	snaptest.WriteFiles(t, inst.Media.Root, snaptest.File{Path: "a/new", Data: storetest.Random(1, 1<<20)}, snaptest.File{Path: "b/new", Data: storetest.Random(2, 1<<20)}, snaptest.File{Path: "b/new2", Link: "b/new"})
	res := w.create(inst, CreateOptions{})
	hit := 0
	for _, name := range w.Store.Names() {
		if strings.HasPrefix(name, "packs/") && !slices.Contains(before, name) && len(w.Store.Bytes(name)) > 2<<20 {
			damage(w.Store, name)
			hit++
		}
	}
	if hit != 1 {
		t.Fatalf("%d packs of media", hit)
	}
	dir := filepath.Join(t.TempDir(), "x")
	var warned []string
	out, err := Restore(t.Context(), w.Open(w.Owner), res.Ref, RestoreOptions{Target: dir, Warn: func(s string) { warned = append(warned, s) }})
	if err == nil || out.Lost == 0 || len(warned) == 0 {
		t.Fatalf("damage is not told: %+v, %v", out, err)
	}
	lost := make(map[string]bool)
	for _, l := range out.LostList {
		lost[string(l.Path)] = true
	}
	if !lost["a/new"] && !lost["b/new"] || lost["a/old"] || lost["b/new"] != lost["b/new2"] {
		t.Errorf("lost: %v", lost)
	}
	for _, name := range []string{"a/old", "a/other", "a/new", "b/new", "b/new2"} {
		got, err := os.ReadFile(filepath.Join(dir, mediaDir, name))
		if lost[name] {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is lost and yet there: %v", name, err)
			}
			continue
		}
		if want, _ := os.ReadFile(filepath.Join(inst.Media.Root, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, sumsName)); err != nil {
		t.Error(err)
	}
}

// What an Inspector tells is enough: after a prune the snapshots that are left come back whole.
func TestPruneKeepsWhatIsNeeded(t *testing.T) {
	w := newWorld(t)
	inst := host(t)
	root := snaptest.OpenDir(t)
	inst.Media.Root = root
	snaptest.WriteFiles(t, root, snaptest.File{Path: "a/stays", Data: storetest.Random(1, 3<<20)}, snaptest.File{Path: "a/goes", Data: storetest.Random(2, 3<<20)}, snaptest.File{Path: "a/large", Data: storetest.Random(3, 40<<20)})
	first := w.create(inst, CreateOptions{})
	if err := os.Remove(filepath.Join(root, "a/goes")); err != nil {
		t.Fatal(err)
	}
	snaptest.WriteFiles(t, root, snaptest.File{Path: "b/new", Data: []byte("new")})
	second := w.create(inst, CreateOptions{})
	r := w.Open(w.Owner)
	if err := r.Forget(t.Context(), []store.Name{first.Ref.ID}); err != nil {
		t.Fatal(err)
	}
	out, err := r.Prune(t.Context(), NewInspector, repo.PruneOptions{})
	if err != nil || out.Freed < 3<<20 {
		t.Fatalf("prune: %+v, %v", out, err)
	}
	w.Verify(second.Ref, NewInspector)
	snaptest.CompareTrees(t, root, filepath.Join(w.restore(second, RestoreOptions{TrustMedia: true}), mediaDir))
}

// Media in object storage are named and not passed off as captured; stopped services are told when they may start.
func TestCreateExternalAndStopped(t *testing.T) {
	w := newWorld(t)
	inst := host(t)
	inst.Media.External = &source.External{Kind: "s3", Bucket: "glacier-media", Endpoint: "https://s3.example"}
	resumed := 0
	res := w.create(inst, CreateOptions{StoppedFrom: time.Now(), Units: []string{"mastodon-web.service", "mastodon-streaming@4000.service"},
		Resume: func() error { resumed++; return nil }})
	m := res.Manifest
	if m.Media.State != External || m.Media.Listing.Entries != 0 || m.Boundary.Method != "stopped" || m.Boundary.StoppedTo == nil || resumed != 1 {
		t.Errorf("%+v, resumed %d times", m, resumed)
	}
	w.Verify(res.Ref, NewInspector)
	dir := w.restore(res, RestoreOptions{})
	if _, err := os.Lstat(filepath.Join(dir, mediaDir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("public-system: %v", err)
	}
	if err := Dump(t.Context(), w.Open(w.Owner), m, "media/a", io.Discard); err == nil || !strings.Contains(err.Error(), "glacier-media") {
		t.Errorf("dump of media: %v", err)
	}
	inst = host(t)
	inst.Media.Root = snaptest.OpenDir(t)
	w.create(inst, CreateOptions{}) // a move back to a local tree has nothing to compare with
	failing := errors.New("systemctl failed")
	if _, err := Create(t.Context(), w.Open(w.Writer), inst, CreateOptions{StoppedFrom: time.Now(), Resume: func() error { return failing }}); !errors.Is(err, failing) {
		t.Errorf("a failing Resume: %v", err)
	}
}

// A blob that is not as long as the listing says makes no file.
func TestRestoreWrongLength(t *testing.T) {
	target := newTarget(t, t.TempDir())
	mr := &mediaRestore{target: target, told: func(int64, int64) {}}
	e := &Entry{Entry: source.Entry{Path: "f", Type: source.File, Size: 5}, Content: stream.Whole(chunk.ID{1}, 5)}
	b := newBatch()
	if err := b.add(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{4, 6} {
		if err := mr.deliver(b.uses[chunk.ID{1}], make([]byte, n)); !isDamage(err) {
			t.Errorf("%d bytes for 5: %v", n, err)
		}
	}
	if err := mr.deliver(b.uses[chunk.ID{1}], make([]byte, 5)); err != nil {
		t.Error(err)
	}
}
