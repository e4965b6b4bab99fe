package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/sandbox"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/store"
	"permafrost/source"
	"permafrost/source/media"
)

// instance is the small Mastodon server that the tests of this package share: PostgreSQL, two Redis and media.
var instance = sync.OnceValues(func() (*sandbox.Instance, error) {
	return sandbox.Start(context.Background(), sandbox.Config{Statuses: 1500, Files: 120, Sidekiq: true})
})

var started = false

func TestMain(m *testing.M) {
	code := m.Run()
	if started {
		if i, err := instance(); err == nil {
			if err := i.Stop(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}
	}
	os.Exit(code)
}

// host returns the settings of the shared instance. Those of the media are the test's own to change.
func host(t testing.TB) *source.Instance {
	t.Helper()
	started = true
	i, err := instance()
	if err != nil {
		t.Fatal(err)
	}
	inst, err := source.Load(i.Live, "")
	if err != nil {
		t.Fatal(err)
	}
	return inst
}

// A world is a repository in memory, and the keys to it.
type world struct {
	t             testing.TB
	store         *storetest.Mem
	owner, writer *keys.Keyring
}

func newWorld(t testing.TB) *world {
	t.Helper()
	owner, err := keys.NewOwner()
	if err != nil {
		t.Fatal(err)
	}
	writer, err := owner.NewWriter("web1")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t, storetest.NewMem(t), owner, writer}
	if err := repo.Init(t.Context(), w.store, owner, writer, repo.InitOptions{Instance: "mastodon.example"}); err != nil {
		t.Fatal(err)
	}
	return w
}

// open opens the repository as who holds k.
func (w *world) open(k *keys.Keyring) *repo.Repo {
	w.t.Helper()
	r, err := repo.Open(w.t.Context(), w.store, k, repo.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// create makes a snapshot with the writer's key.
func (w *world) create(inst *source.Instance, o CreateOptions) *Result {
	w.t.Helper()
	res, err := Create(w.t.Context(), w.open(w.writer), inst, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

// restore restores a snapshot with the owner's key into a new directory.
func (w *world) restore(res *Result, o RestoreOptions) string {
	w.t.Helper()
	o.Target = filepath.Join(w.t.TempDir(), "restored")
	if _, err := Restore(w.t.Context(), w.open(w.owner), res.Ref, o); err != nil {
		w.t.Fatal(err)
	}
	return o.Target
}

// verify checks a snapshot by its structure and by the repository's own check with all content read.
func (w *world) verify(res *Result) {
	w.t.Helper()
	r := w.open(w.owner)
	rd, err := r.NewReader(w.t.Context(), res.Manifest.Instance)
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := Load(w.t.Context(), r, res.Ref)
	if err != nil {
		w.t.Fatal(err)
	}
	v := &lookUp{rd: rd}
	if err := (&inspection{Inspector: newInspector(rd.Instance(), rd), visitor: v}).manifest(w.t.Context(), m); err != nil || v.lost != nil {
		w.t.Fatal(err, v.lost)
	}
	check, err := r.Check(w.t.Context(), NewInspector,
		repo.CheckOptions{Read: &repo.Subset{Percent: 100}, Problem: func(err error) { w.t.Error(err) }})
	if err != nil {
		w.t.Fatal(err)
	}
	if check.Problems > 0 || check.Blobs == 0 {
		w.t.Errorf("check: %+v", check)
	}
}

// A lookUp is a repo.Visitor that looks blobs up by their lengths.
type lookUp struct {
	rd interface {
		Length(id chunk.ID) (int, bool)
	}
	needs int
	lost  []error
}

func (v *lookUp) Need(_ context.Context, n repo.Need) error {
	v.needs++
	length, ok := v.rd.Length(n.Blob)
	if !ok || n.Offset+n.Length > length || n.Whole && n.Length != length {
		return &store.DamageError{Object: "blob " + n.Blob.String()[:8], Err: fmt.Errorf("it has %d bytes of %+v", length, n)}
	}
	return nil
}

func (v *lookUp) Lost(_ string, err error) error {
	v.lost = append(v.lost, err)
	return nil
}

// inspectRecipe returns what is wrong with a stream.
func (i *Inspector) inspectRecipe(ctx context.Context, r *Recipe, rd interface {
	Length(id chunk.ID) (int, bool)
}) error {
	v := &lookUp{rd: rd}
	in := &inspection{Inspector: i, visitor: v}
	in.settle("stream", in.recipe(ctx, r))
	return errors.Join(append(v.lost, in.stop)...)
}

// openDir returns a directory that Mastodon's user may read, as what it holds is read with his rights.
func openDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A file of a tree as tests describe it.
type file struct {
	path string
	data []byte
	link string // path of another name of it
}

// writeFiles makes files below dir, with the directories that they need.
func writeFiles(t testing.TB, dir string, files ...file) {
	t.Helper()
	for _, f := range files {
		name := filepath.Join(dir, f.path)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if f.link != "" {
			err = os.Link(filepath.Join(dir, f.link), name)
		} else {
			err = os.WriteFile(name, f.data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// compareTrees reports in what the tree got differs from want.
func compareTrees(t testing.TB, want, got string) {
	t.Helper()
	a, b := readTree(t, want), readTree(t, got)
	for path, x := range a {
		y, ok := b[path]
		if !ok {
			t.Errorf("%s is missing", path)
		} else if x != y {
			t.Errorf("%s:\n was %s\n  is %s", path, x, y)
		}
	}
	for path := range b {
		if _, ok := a[path]; !ok {
			t.Errorf("%s should not be there", path)
		}
	}
}

// readTree describes each entry of a tree: all that a restore must bring back.
func readTree(t testing.TB, dir string) map[string]string {
	t.Helper()
	tree, err := media.Open(dir, media.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	all := make(map[string]string)
	names := make(map[uint64]string)
	for e, err := range tree.Walk(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		s := fmt.Sprintf("%c %o %d:%d %d size %d rdev %d target %q xattrs %q", e.Type, e.Mode, e.UID, e.GID, e.MTime, e.Size, e.Rdev, e.Target, e.Xattrs)
		if e.Type == source.File {
			data, err := os.ReadFile(filepath.Join(dir, e.Path))
			if err != nil {
				t.Fatal(err)
			}
			first, ok := names[e.Inode]
			if !ok {
				names[e.Inode] = e.Path
			}
			s += fmt.Sprintf(" content %x also %q", sumOf(data), first)
		}
		all[e.Path] = s
	}
	return all
}
