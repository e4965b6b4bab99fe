package machine

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"permafrost/repo/store"
)

// One process at a time does a work for an instance; other works and other instances are free.
func TestLock(t *testing.T) {
	state := t.TempDir()
	open := func() *Memory { return Open(state, "", store.Name{1}) }
	unlock, err := open().Lock(Run, "a.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open().Lock(Run, "a.example"); !errors.Is(err, ErrLocked) {
		t.Errorf("the same work: %v", err)
	}
	for w, instance := range map[Work]string{Snapshot: "a.example", Run: "b.example/"} {
		free, err := open().Lock(w, instance)
		if err != nil {
			t.Fatalf("%s of %s: %v", w, instance, err)
		}
		free()
	}
	unlock()
	unlock, err = open().Lock(Run, "a.example")
	if err != nil {
		t.Fatal(err)
	}
	unlock()

	file, err := filepath.Glob(filepath.Join(state, "*", "run-a.example"))
	if err == nil && len(file) == 1 {
		err = errors.Join(os.Remove(file[0]), os.Mkdir(file[0], 0o700))
	}
	if err != nil {
		t.Fatal(file, err)
	}
	var spoilt *FileError
	if _, err := open().Lock(Run, "a.example"); !errors.As(err, &spoilt) || spoilt.Path != file[0] {
		t.Errorf("a directory in the place of a lock: %v", err)
	}
}

// What is remembered of packs is remembered by the next process: the last of each, none of the future, and none of packs that are no
// more.
func TestVerified(t *testing.T) {
	state := t.TempDir()
	now := time.Unix(1_700_000_000, 0)
	a, b, c := store.Name{1}, store.Name{2}, store.Name{3}
	open := func(packs ...store.Name) *Verified {
		t.Helper()
		v, err := Open(state, "", store.Name{1}).Verified(slices.Values(packs))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(v.Close)
		return v
	}
	v := open(a, b, c)
	v.Add(a, true, now.Add(-2*time.Hour))
	v.Add(a, false, now.Add(-time.Hour))
	v.Add(b, true, now.Add(time.Second))
	v.Add(c, true, now)
	for _, packs := range [][]store.Name{{a, b, c}, {a, b}, {a, b, c}} {
		v = open(packs...)
		if at := v.When(a, false, now); !at.Equal(now.Add(-time.Hour)) {
			t.Errorf("the last time of a pack is %v", at)
		}
		if at := v.When(a, true, now); !at.IsZero() {
			t.Errorf("what was only hashed counts as decrypted, at %v", at)
		}
		if at := v.When(b, true, now); !at.IsZero() {
			t.Errorf("a time of the future counts: %v", at)
		}
	}
	if at := v.When(c, true, now); !at.IsZero() {
		t.Errorf("a pack that was no more is remembered, at %v", at)
	}
	files, err := filepath.Glob(filepath.Join(state, "*", "verified"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Size() != 2*verifiedRecord {
		t.Errorf("the file has %d bytes, want two records: %v", info.Size(), err)
	}
}
