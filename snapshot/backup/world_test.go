package backup

import (
	"path/filepath"
	"testing"

	"permafrost/internal/snaptest"
	"permafrost/snapshot/restore"
	"permafrost/source"
)

var instance snaptest.Instance

func TestMain(m *testing.M) { instance.Main(m) }

// host returns the settings of the shared instance. Those of the media are the test's own to change.
func host(t testing.TB) *source.Instance {
	t.Helper()
	return instance.Host(t)
}

// Where a restore puts these.
const (
	restoredMedia   = "public-system"
	restoredSecrets = "secrets"
)

// A world is a repository in memory.
type world struct {
	*snaptest.World
	t testing.TB
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return &world{snaptest.New(t), t}
}

// create makes a snapshot with the writer's key.
func (w *world) create(inst *source.Instance, o Options) *Result {
	w.t.Helper()
	res, err := Create(w.t.Context(), w.Open(w.Writer), inst, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

// restore restores a snapshot with the owner's key into a new directory.
func (w *world) restore(res *Result, o restore.Options) string {
	w.t.Helper()
	o.Target = filepath.Join(w.t.TempDir(), "restored")
	if _, err := restore.Restore(w.t.Context(), w.Open(w.Owner), res.Ref, o); err != nil {
		w.t.Fatal(err)
	}
	return o.Target
}
