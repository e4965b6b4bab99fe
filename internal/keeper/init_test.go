package keeper_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"permafrost/internal/keeper"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/store"
)

// A deaf observer hears nothing.
type deaf struct{}

func (deaf) Phase(keeper.Phase)   {}
func (deaf) Found(keeper.Finding) {}
func (deaf) Tell(keeper.Message)  {}

// Init fails at each change of the storage, with the storage there afterwards and not. Key files are gone only where no
// repository can have been made with them; where it was made they open it.
func TestInitRollsBack(t *testing.T) {
	outcomes := make(map[bool]int)
	for _, fault := range []storetest.Fault{storetest.NotDone, storetest.Done, storetest.Part} {
		for n := 0; ; n++ {
			st := storetest.NewMem(t)
			dying, crashed := storetest.CrashAt(st, n, fault)
			if !initFails(t, st, dying, crashed, outcomes) {
				break
			}
			left, changes := n, 0
			brief := &storetest.Hook{Store: storetest.NewMem(t), Before: func(op storetest.Op) storetest.Fault {
				if op.Changes() {
					changes++
					if changes == left+1 {
						return fault
					}
				}
				return storetest.None
			}}
			initFails(t, brief.Store, brief, func() bool { return changes > left }, outcomes)
		}
	}
	if outcomes[true] < 10 || outcomes[false] < 2 {
		t.Errorf("it was made %d times, and not %d times", outcomes[true], outcomes[false])
	}
}

// initFails makes a repository on a storage that fails once, as failed tells, and looks at what is left. It reports whether the
// storage failed, and counts in outcomes whether the repository was made.
func initFails(t *testing.T, st, view store.Store, failed func() bool, outcomes map[bool]int) bool {
	t.Helper()
	dir := t.TempDir()
	o := keeper.InitOptions{Recovery: filepath.Join(dir, "recovery.key"), Writer: filepath.Join(dir, "etc", "writer.key"), Name: "web1"}
	_, err := keeper.Init(t.Context(), view, o, deaf{})
	if err == nil {
		return failed()
	}
	there, ask := repo.Exists(t.Context(), st)
	if ask != nil {
		t.Fatal(ask)
	}
	var partial *keeper.InitError
	if !errors.As(err, &partial) {
		t.Fatalf("%v is no InitError", err)
	}
	outcomes[partial.Made]++
	files := 0
	for _, file := range partial.Files {
		if _, err := os.Stat(file); err == nil {
			files++
		}
	}
	switch {
	case files == 1, partial.Made != (files == 2):
		t.Errorf("%v: %d key files, and Made is %v", err, files, partial.Made)
	case there && files == 0:
		t.Errorf("%v: a repository is there without key files", err)
	}
	return true
}
