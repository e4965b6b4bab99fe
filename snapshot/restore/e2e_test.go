package restore

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"permafrost/repo/keys"
	"permafrost/snapshot/backup"

	"permafrost/internal/snaptest"
	"permafrost/snapshot"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
	"permafrost/internal/storetest"
	"permafrost/source"
	"permafrost/source/media"
)

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
	res := w.create(inst, backup.Options{Media: media.Options{User: new(hostfs.User)}}) // root, who may read all of it
	w.Verify(res.Ref, snapshot.NewInspector)
	dir := w.restore(res, Options{Components: []string{"media"}, TrustMedia: true})
	snaptest.CompareTrees(t, root, filepath.Join(dir, mediaDir))
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, mediaDir, "sparse"), &st); err != nil || st.Blocks*512 > 1<<20 {
		t.Errorf("the sparse file occupies %d bytes: %v", st.Blocks*512, err)
	}
	for what, want := range map[string]string{"media/a/one": "1", "media/z/last": "1", "media/n/\xff\n\"'\\": "name"} {
		var b bytes.Buffer
		if err := snapshot.Dump(t.Context(), w.Open(w.Owner), res.Manifest, what, &b); err != nil || b.String() != want {
			t.Errorf("%q: %q, %v", what, b.String(), err)
		}
	}
	for _, what := range []string{"media", "media/a", "media/nothing", "media/../a/one", "nothing", "secrets/nothing", ""} {
		if err := snapshot.Dump(t.Context(), w.Open(w.Owner), res.Manifest, what, io.Discard); err == nil {
			t.Errorf("%q is dumped", what)
		}
	}
}

// What the host's key wrote it can't read back.
func TestRestoreNeedsOwner(t *testing.T) {
	w := newWorld(t)
	inst := host(t)
	inst.Media.Root = snaptest.OpenDir(t)
	res := w.create(inst, backup.Options{})
	_, err := Restore(t.Context(), w.Open(w.Writer), res.Ref, Options{Target: filepath.Join(t.TempDir(), "x")})
	var missing *keys.MissingKeyError
	if !errors.As(err, &missing) {
		t.Errorf("restored with a writer's key: %v", err)
	}
}

func TestRestoreTarget(t *testing.T) {
	w := newWorld(t)
	inst := host(t)
	inst.Media.Root = snaptest.OpenDir(t)
	snaptest.WriteFiles(t, inst.Media.Root, snaptest.File{Path: "a/b", Data: []byte("x")})
	res := w.create(inst, backup.Options{})
	dir := t.TempDir()
	snaptest.WriteFiles(t, dir, snaptest.File{Path: "precious"})
	r := w.Open(w.Owner)
	if _, err := Restore(t.Context(), r, res.Ref, Options{Target: dir}); source.CauseOf(err).Cause != CauseTargetFull {
		t.Errorf("a directory that is not empty is taken: %v", err)
	}
	if _, err := Restore(t.Context(), r, res.Ref, Options{Target: t.TempDir(), Components: []string{"postgers"}}); err == nil {
		t.Error("an unknown component is taken")
	}
	if _, err := Restore(t.Context(), r, res.Ref, Options{Target: dir, Force: true, Components: []string{"secrets"}}); err != nil {
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
	if _, err := Restore(t.Context(), r, res.Ref, Options{Target: dir, Components: []string{"redis"}, Texts: texts}); err != nil {
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
	w.create(inst, backup.Options{})
	before := w.Store.Names()
	snaptest.WriteFiles(t, inst.Media.Root, snaptest.File{Path: "a/new", Data: storetest.Random(1, 1<<20)}, snaptest.File{Path: "b/new", Data: storetest.Random(2, 1<<20)}, snaptest.File{Path: "b/new2", Link: "b/new"})
	res := w.create(inst, backup.Options{})
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
	out, err := Restore(t.Context(), w.Open(w.Owner), res.Ref, Options{Target: dir, Warn: func(err error) { warned = append(warned, err.Error()) }})
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
