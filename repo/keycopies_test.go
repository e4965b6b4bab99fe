package repo_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"filippo.io/age"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/ledger"
)

// Junk below keys/ neither keeps a machine from copying the keys that the roster names, nor is it copied, nor read by a host that
// looks for its keys of a new epoch.
func TestJunkKeysCrowdOutNobody(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	hers, err := w.owner.ForOwner("alice")
	if err != nil {
		t.Fatal(err)
	}
	if err := fresh(t, st, w.owner).AddPerson(t.Context(), hers, ledger.Person{Name: "alice"}, id.Recipient(), id.Recipient().String()); err != nil {
		t.Fatal(err)
	}
	if _, err := fresh(t, st, w.owner).Rotate(t.Context(), nothing); err != nil {
		t.Fatal(err)
	}
	genuine := objectsOf(st, "keys")
	for i := range 1500 {
		for _, name := range []string{fmt.Sprintf("keys/%064x.age", i), fmt.Sprintf("keys/f%063x.age", i)} {
			st.Set(name, []byte("junk"))
		}
	}
	var reads atomic.Int64
	counting := &storetest.Hook{Store: st, Before: func(op storetest.Op) storetest.Fault {
		if op.Kind == "ReadAt" && strings.HasPrefix(op.Name, "keys/") {
			reads.Add(1)
		}
		return storetest.None
	}}
	dir := t.TempDir()
	if _, err := openRepo(t.Context(), counting, w.writer, repo.Options{StateDir: dir}); err != nil {
		t.Fatal(err)
	}
	copies, err := filepath.Glob(filepath.Join(dir, "*", "keys", "*"))
	if err != nil || len(copies) != len(genuine) {
		t.Errorf("%d of %d keyrings are copied: %v", len(copies), len(genuine), err)
	}
	for _, name := range genuine {
		data, err := os.ReadFile(filepath.Join(dir, w.open(w.owner).ID().String()[:16], name))
		if err != nil || string(data) != string(st.Bytes(name)) {
			t.Errorf("the copy of %s has %d bytes: %v", name, len(data), err)
		}
	}
	if n := reads.Load(); n > 3*int64(len(genuine)) {
		t.Errorf("%d reads of %d keyrings", n, len(genuine))
	}
}
