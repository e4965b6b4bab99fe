package repo_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/upkeep"
)

// A check that may begin only one pack a night gets round to all of them, and reads none again while it is fresh enough.
func TestCheckSpread(t *testing.T) {
	w := newWorld(t, storetest.NewMem(t), repo.InitOptions{})
	for i := range 3 {
		mustSnapshot(t, w.open(w.writer), night(uint64(i)*10+1), i+1)
	}
	all := &upkeep.Subset{Percent: 100}
	packs := mustBeClean(t, w.open(w.writer)).ReadPacks
	if packs < 5 {
		t.Fatalf("only %d packs", packs)
	}
	read := func(k *keys.Keyring, age, limit time.Duration) *upkeep.CheckResult {
		t.Helper()
		res, problems := check(t, w.open(k), upkeep.CheckOptions{Read: all, MaxAge: age, MaxTime: limit})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return res
	}
	// The owner has a state of its own here, and what was only hashed would not count for it anyhow.
	for i := range packs {
		if res := read(w.owner, time.Hour, 1); res.ReadPacks != 1 || res.Due != packs-i-1 {
			t.Fatalf("night %d: %d packs read, %d due of %d", i, res.ReadPacks, res.Due, packs)
		}
	}
	if res := read(w.owner, time.Hour, 1); res.ReadPacks != 0 || res.Due != 0 {
		t.Errorf("all is fresh: %d packs read, %d due", res.ReadPacks, res.Due)
	}
	if res := read(w.owner, 0, 0); res.ReadPacks != packs {
		t.Errorf("without an age %d packs of %d are read", res.ReadPacks, packs)
	}

	files, err := filepath.Glob(filepath.Join(w.dir, "*", "state", "*", "verified"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%d lists of verified packs: %v", len(files), err)
	}
	ofOwner, err := filepath.Glob(filepath.Join(w.dir, string(w.owner.Role), "state", "*", "verified"))
	if err != nil || len(ofOwner) != 1 {
		t.Fatalf("the owner's list: %v, %v", ofOwner, err)
	}
	ofWriter, err := filepath.Glob(filepath.Join(w.dir, string(w.writer.Role), "state", "*", "verified"))
	if err != nil || len(ofWriter) != 1 {
		t.Fatalf("the writer's list: %v, %v", ofWriter, err)
	}
	hashed, err := os.ReadFile(ofWriter[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		name string
		file []byte
		want int
	}{
		{"only hashed", hashed, packs},
		{"none", nil, packs},
		{"junk", []byte("junk that is no record of any pack, whatever its length may be"), packs},
	} {
		if err := os.WriteFile(ofOwner[0], k.file, 0o600); err != nil {
			t.Fatal(err)
		}
		if res := read(w.owner, time.Hour, 0); res.ReadPacks != k.want {
			t.Errorf("%s: %d packs read, want %d", k.name, res.ReadPacks, k.want)
		}
	}
	whole, err := os.ReadFile(ofOwner[0])
	if err != nil {
		t.Fatal(err)
	}
	whole[len(whole)/2] ^= 1
	if err := os.WriteFile(ofOwner[0], whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if res := read(w.owner, time.Hour, 0); res.ReadPacks != 1 {
		t.Errorf("after a flipped bit %d packs are read, want 1", res.ReadPacks)
	}
}

// Damage is never remembered as verified.
func TestCheckSpreadDamage(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	mustSnapshot(t, w.open(w.writer), night(1), 1)
	var pack string
	for o, err := range st.List(t.Context(), "packs/") {
		if err != nil {
			t.Fatal(err)
		}
		pack = o.Name
	}
	st.Corrupt(pack, 500)
	for range 2 {
		res, problems := check(t, w.open(w.writer), upkeep.CheckOptions{Read: &upkeep.Subset{Percent: 100}, MaxAge: time.Hour})
		if len(problems) != 1 || len(res.Damaged) != 1 {
			t.Fatalf("problems %v", problems)
		}
	}
}
