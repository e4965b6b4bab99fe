package ledger

import (
	"testing"

	"permafrost/repo/store"
)

// What a clone learns of snapshots' times is not its original's.
func TestCloneOfRecords(t *testing.T) {
	h := New(storedKeys(t, "recovery.txt"))
	h.Snapshots.recorded["social.example"] = &Recorded{Through: 3, Doubts: map[store.Name]string{{1}: "too early"}}
	c := h.Clone()
	c.Snapshots.recorded["social.example"].Through = 9
	c.Snapshots.recorded["social.example"].Doubts[store.Name{2}] = "too late"
	if r := h.Snapshots.recorded["social.example"]; r.Through != 3 || len(r.Doubts) != 1 {
		t.Errorf("the original says %+v", r)
	}
}
