package tree

import (
	"context"
	"path/filepath"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/hostfs"
	"permafrost/internal/snaptest"
	"permafrost/snapshot"
	"permafrost/snapshot/restore/internal/fault"
	"permafrost/snapshot/stream"
	"permafrost/source"
	"permafrost/source/media"
)

// A deaf observer does not mind what becomes of files.
type deaf struct{}

func (deaf) Wrote(_, _ int64)      {}
func (deaf) Kept(_, _ int64)       {}
func (deaf) Lost(string, error)    {}
func (deaf) Refused(string, error) {}

// What leads to endlessly much takes no memory for that, ends when it is to, and, where it writes nothing, by itself.
func TestEndlessRecipes(t *testing.T) {
	b := snaptest.Blobs{}
	for name, c := range snaptest.EndlessRecipes(b) {
		t.Run(name, func(t *testing.T) {
			content := stream.Recipe(c.Recipe)
			e := &snapshot.Entry{Entry: source.Entry{Path: "f", Type: source.File, Mode: 0o644, Size: content.Size}, Content: content}
			snaptest.InTime(t, c.Empty, func(ctx context.Context) error {
				dir, err := hostfs.MakeDir(filepath.Join(t.TempDir(), "media"))
				if err != nil {
					t.Fatal(err)
				}
				defer dir.Close()
				tree := New(Options{Blobs: b, Target: media.NewTarget(dir, media.TargetOptions{}), Manifest: &snapshot.Manifest{}, News: deaf{}})
				return tree.large(ctx, e)
			})
		})
	}
}

// A blob that is not as long as the listing says makes no file.
func TestWrongLength(t *testing.T) {
	target := newTarget(t, t.TempDir())
	tree := New(Options{Target: target, News: deaf{}})
	e := &snapshot.Entry{Entry: source.Entry{Path: "f", Type: source.File, Size: 5}, Content: stream.Whole(chunk.ID{1}, 5)}
	b := newBatch()
	if err := b.add(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{4, 6} {
		if err := tree.deliver(b.uses[chunk.ID{1}], make([]byte, n)); !fault.IsDamage(err) {
			t.Errorf("%d bytes for 5: %v", n, err)
		}
	}
	if err := tree.deliver(b.uses[chunk.ID{1}], make([]byte, 5)); err != nil {
		t.Error(err)
	}
}

// newTarget restores media into a directory, which it makes. What can't be restored is an error of the test.
func newTarget(t testing.TB, dir string) *media.Target {
	t.Helper()
	at, err := hostfs.MakeDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	target := media.NewTarget(at, media.TargetOptions{Warn: func(path string, err error) { t.Error(path, err) }})
	t.Cleanup(func() { target.Close() })
	return target
}
