package repo_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// cacheTables returns the files of the local index of a keyring's machine.
func (w *world) cacheTables(k *keys.Keyring) []string {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.dir, string(k.Role), "cache", "*", "tables", "*"))
	if err != nil {
		w.t.Fatal(err)
	}
	return files
}

// openNoting opens the repository as open does, and collects the notes.
func (w *world) openNoting(k *keys.Keyring, notes *[]string) *repo.Repo {
	w.t.Helper()
	d := filepath.Join(w.dir, string(k.Role))
	r, err := openRepo(w.t.Context(), w.store, k, repo.Options{StateDir: filepath.Join(d, "state"), CacheDir: filepath.Join(d, "cache"),
		Note: func(s string) { *notes = append(*notes, s) }})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// nights makes n snapshots on one machine, each of which changes some of the one before.
func nights(t *testing.T, n int) (w *world, st *storetest.Mem, contents []content, refs []ledger.SnapshotRef) {
	t.Helper()
	st = storetest.NewMem(t)
	w = newWorld(t, st, repo.InitOptions{})
	for i := range n {
		c := night(1)
		c[repo.Media] = append(c[repo.Media], blobs(uint64(100+i), 5, 3000)...)
		ref, _ := mustSnapshot(t, w.open(w.writer), c, i+1)
		contents, refs = append(contents, c), append(refs, ref)
	}
	return w, st, contents, refs
}

func allWhole(t *testing.T, r *repo.Repo, contents []content, refs []ledger.SnapshotRef) {
	t.Helper()
	for i, ref := range refs {
		if err := verify(t.Context(), r, ref, contents[i]); err != nil {
			t.Errorf("night %d: %v", i+1, err)
		}
	}
}

// Night after night the local index is one table, or few; what it covers is not kept in the cache a second time, and
// the objects that a machine has read once it does not read again.
func TestLocalIndexGrows(t *testing.T) {
	w, st, contents, refs := nights(t, 12)
	allWhole(t, w.open(w.owner), contents, refs)
	if n := len(w.cacheTables(w.owner)); n != 1 {
		t.Errorf("%d tables after the first look", n)
	}
	if n := len(w.cacheTables(w.writer)); n < 1 || n > 4 {
		t.Errorf("%d tables after twelve nights", n)
	}
	if copies, _ := filepath.Glob(filepath.Join(w.dir, "owner", "cache", "*", "index", "*")); len(copies) > 0 {
		t.Errorf("copies of index objects beside the table: %v", copies)
	}
	for _, name := range st.Names() {
		if strings.HasPrefix(name, "index/") {
			st.Corrupt(name, 500)
		}
	}
	allWhole(t, w.open(w.owner), contents, refs)
}

// Where the local index is damaged, cut, of another repository, or gone, it is made anew, with one note where there is
// something to say; nothing that is read or stored is other than it was.
func TestLocalIndexDamaged(t *testing.T) {
	w, _, contents, refs := nights(t, 3)
	allWhole(t, w.open(w.owner), contents, refs)
	files := w.cacheTables(w.owner)
	if len(files) != 1 {
		t.Fatalf("tables %v", files)
	}
	good, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	noted := 0
	try := func(what string, data []byte) {
		t.Helper()
		if err := os.WriteFile(files[0], data, 0o600); err != nil {
			t.Fatal(err)
		}
		var notes []string
		r := w.openNoting(w.owner, &notes)
		for i, ref := range refs {
			if err := verify(t.Context(), r, ref, contents[i]); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		if len(notes) > 1 {
			t.Fatalf("%s: %q", what, notes)
		}
		noted += len(notes)
	}
	cases := 0
	for off := 11; off < len(good); off += 509 {
		try(fmt.Sprintf("byte %d", off), flip(good, off))
		cases++
	}
	if noted != cases { // each page is needed by these look-ups
		t.Errorf("%d notes about %d damaged tables", noted, cases)
	}
	for _, n := range []int{0, 1, 4095, 4096, len(good) - 4096, len(good) - 1} {
		try(fmt.Sprintf("cut to %d", n), good[:n])
	}
	try("whole", good)
	for _, f := range w.cacheTables(w.owner) {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	allWhole(t, w.open(w.owner), contents, refs)
}

// A snapshot and a prune over a damaged local index: the snapshot is whole whatever it found, and so is what the prune
// leaves.
func TestWriteOverDamagedIndex(t *testing.T) {
	for _, role := range []string{"snapshot", "prune"} {
		t.Run(role, func(t *testing.T) {
			for at := 1; at < 8; at++ {
				w, _, contents, refs := nights(t, 2)
				k := w.writer
				if role == "prune" {
					k = w.owner
					if err := upkeep.Forget(t.Context(), w.open(k), []store.Name{refs[0].ID}); err != nil {
						t.Fatal(err)
					}
					contents, refs = contents[1:], refs[1:]
				}
				allWhole(t, w.open(w.owner), contents, refs)
				mustSnapshot(t, w.open(w.writer), contents[0], 8)
				for _, f := range w.cacheTables(k) {
					data, err := os.ReadFile(f)
					if err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(f, flip(data, at*len(data)/8), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if role == "snapshot" {
					ref, _ := mustSnapshot(t, w.open(k), contents[1], 9)
					refs, contents = append(refs, ref), append(contents, contents[1])
				} else if _, err := upkeep.Prune(t.Context(), w.open(k), mark, upkeep.PruneOptions{}); err != nil {
					t.Fatal(err)
				}
				allWhole(t, fresh(t, w.store, w.owner), contents, refs)
				mustBeClean(t, w.open(w.owner))
			}
		})
	}
}

// A cache that can't be had costs time and nothing else.
func TestNoCache(t *testing.T) {
	for _, what := range []string{"cache", "cache/ID", "cache/ID/tables"} {
		t.Run(strings.ReplaceAll(what, "/", " "), func(t *testing.T) {
			st := storetest.NewMem(t)
			w := newWorld(t, st, repo.InitOptions{})
			path := filepath.Join(w.dir, "writer", strings.ReplaceAll(what, "ID", store.Name(w.owner.Repository).String()[:16]))
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				_, stats := mustSnapshot(t, w.open(w.writer), night(1), i+1)
				if i > 0 && stats[repo.Media].Fresh != 0 {
					t.Errorf("night %d stores %+v", i+1, stats[repo.Media])
				}
			}
		})
	}
}

// Several processes that make one machine's index at once are all right, and leave one that serves.
func TestLocalIndexAtOnce(t *testing.T) {
	w, _, contents, refs := nights(t, 4)
	w.dir = t.TempDir()
	var repos []*repo.Repo
	for range 8 {
		repos = append(repos, w.open(w.owner))
	}
	var wg sync.WaitGroup
	for _, r := range repos {
		wg.Go(func() {
			for i, ref := range refs {
				if err := verify(t.Context(), r, ref, contents[i]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(w.cacheTables(w.owner)); n != 1 {
		t.Errorf("%d tables", n)
	}
	mustSnapshot(t, w.open(w.writer), contents[0], 9)
	allWhole(t, w.open(w.owner), contents, refs)
}

// What a process leaves that dies while it writes a table is in nobody's way; and a table that lacks what the log names,
// or has what the log no longer does, serves with others.
func TestInterruptedTable(t *testing.T) {
	w, _, contents, refs := nights(t, 3)
	allWhole(t, w.open(w.owner), contents, refs)
	old := w.cacheTables(w.owner)[0]
	early, err := os.ReadFile(old)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{".tmp-1234": early[:5000], "something": []byte("else")} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(old), name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ref, _ := mustSnapshot(t, w.open(w.writer), contents[0], 7)
	contents, refs = append(contents, contents[0]), append(refs, ref)
	allWhole(t, w.open(w.owner), contents, refs)
	// The table of before comes back, as when a merge dies between its last two steps.
	if err := os.WriteFile(old, early, 0o600); err != nil {
		t.Fatal(err)
	}
	allWhole(t, w.open(w.owner), contents, refs)
	if err := upkeep.Forget(t.Context(), w.open(w.owner), []store.Name{refs[0].ID, refs[1].ID}); err != nil {
		t.Fatal(err)
	}
	if _, err := upkeep.Prune(t.Context(), w.open(w.owner), mark, upkeep.PruneOptions{}); err != nil {
		t.Fatal(err)
	}
	allWhole(t, w.open(w.owner), contents[2:], refs[2:])
	if err := os.WriteFile(old, early, 0o600); err != nil {
		t.Fatal(err)
	}
	allWhole(t, w.open(w.owner), contents[2:], refs[2:])
	mustBeClean(t, w.open(w.owner))
}
