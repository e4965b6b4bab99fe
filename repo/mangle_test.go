package repo_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// small is a repository with little in it, so that each of its bytes can be flipped.
func small(t *testing.T) (w *world, st *storetest.Mem, nights []content, refs []ledger.SnapshotRef) {
	st = storetest.NewMem(t)
	w = newWorld(t, st, repo.InitOptions{})
	nights = []content{
		{repo.Meta: blobs(1, 2, 60), repo.Postgres: blobs(2, 2, 200)},
		{repo.Meta: blobs(1, 2, 60), repo.Media: blobs(3, 1, 300)},
	}
	for i, c := range nights {
		ref, _ := mustSnapshot(t, w.open(w.writer), c, i+1)
		refs = append(refs, ref)
	}
	return w, st, nights, refs
}

// readAll opens the repository on a machine that has not seen it, and reads every snapshot that it lists. It returns
// the IDs of those that came back whole; one that came back otherwise than it was is the test's failure.
func readAll(t *testing.T, st store.Store, k *keys.Keyring, nights []content, refs []ledger.SnapshotRef) (whole []store.Name, err error) {
	ctx := t.Context()
	r, err := openFresh(ctx, st, k)
	if err != nil {
		return nil, err
	}
	for _, s := range r.Snapshots() {
		i := slices.IndexFunc(refs, func(ref ledger.SnapshotRef) bool { return ref.ID == s.ID })
		if i < 0 {
			t.Fatalf("a snapshot that was never made is listed: %+v", s)
		}
		verr := verify(ctx, r, s, nights[i])
		var d *store.DamageError
		switch {
		case verr == nil:
			whole = append(whole, s.ID)
		case errors.As(verr, &d):
			err = errors.Join(err, verr)
		default:
			t.Fatalf("reading a snapshot of a mangled repository: %v", verr)
		}
	}
	return whole, errors.Join(append(r.Damage(), err)...)
}

// Every truncation and every flipped byte of every object is an error, or nothing at all to the one who reads; and the
// snapshots that do not need the object come back whole. Under the race detector a part is tried: it is slow, and this
// test is not about races.
func TestMangledObjects(t *testing.T) {
	useEnvelopes(t, repo.RememberEnvelopes())
	w, st, nights, refs := small(t)
	step := 1
	switch {
	case raceDetector:
		step = 101
	case testing.Short():
		step = 29
	}
	var cases atomic.Int64
	t.Cleanup(func() { t.Logf("%d mangled repositories", cases.Load()) })
	for _, name := range st.Names() {
		if name == "reserve" {
			continue // nobody reads it
		}
		t.Run(strings.ReplaceAll(name, "/", "_"), func(t *testing.T) {
			t.Parallel()
			mine := st.Clone()
			data := mine.Bytes(name)
			for off := 0; off < len(data); off += step {
				for _, mangled := range [][]byte{data[:off], flip(data, off)} {
					mine.Set(name, mangled)
					cases.Add(1)
					mangledCase(t, w, mine, fmt.Sprintf("%s at byte %d", name, off), name, nights, refs)
					if t.Failed() {
						return
					}
				}
			}
		})
	}
}

func flip(data []byte, off int) []byte {
	m := slices.Clone(data)
	m[off] ^= 1 << (off % 8)
	return m
}

func mangledCase(t *testing.T, w *world, st *storetest.Mem, what, name string, nights []content, refs []ledger.SnapshotRef) {
	whole, err := readAll(t, st, w.owner, nights, refs)
	if err == nil && len(whole) != len(refs) && !isLastEntry(name, refs) {
		t.Errorf("%s: no error, and %d of %d snapshots", what, len(whole), len(refs))
	}
	// The last log entry is special: without it, or a head to remember, the repository is what it was before.
	older := strings.HasPrefix(name, "packs/") || strings.HasPrefix(name, "manifests/")
	if older && len(whole) == 0 && !sharedPack(name) {
		t.Errorf("%s: no snapshot comes back: %v", what, err)
	}
}

func isLastEntry(name string, refs []ledger.SnapshotRef) bool {
	return name == fmt.Sprintf("log/%010d", refs[len(refs)-1].Seq)
}

// sharedPack reports that a pack may be one that both snapshots need; which they are can't be told from outside.
func sharedPack(name string) bool { return strings.HasPrefix(name, "packs/") }

// A damaged entry in the middle of the log: both snapshots beside it are still read, and nothing is added to the log
// until a person says so.
func TestDamagedLogEntry(t *testing.T) {
	w, st, nights, refs := small(t)
	extra, _ := mustSnapshot(t, w.open(w.writer), nights[0], 3)
	refs, nights = append(refs, extra), append(nights, nights[0])
	st.Corrupt(fmt.Sprintf("log/%010d", refs[1].Seq), 700)
	whole, err := readAll(t, st, w.owner, nights, refs)
	var d *store.DamageError
	if len(whole) != 2 || !errors.As(err, &d) || d.Object != fmt.Sprintf("log/%010d", refs[1].Seq) {
		t.Errorf("%d snapshots, %v", len(whole), err)
	}
	r, err := openFresh(t.Context(), st, w.writer)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := snapshot(t.Context(), r, nights[0], 4); !errors.As(err, &d) {
		t.Errorf("a snapshot into a damaged log: %v", err)
	}
	if _, problems := check(t, r, upkeep.CheckOptions{}); len(problems) == 0 {
		t.Error("check finds nothing")
	}
	mustAccept(t, st, w.owner)
	mustSnapshot(t, fresh(t, st, w.writer), nights[0], 4)
}

// Junk under the next number is no entry: it is passed over, and the log goes on behind it.
func TestJunkInLog(t *testing.T) {
	w, st, nights, refs := small(t)
	st.Set(fmt.Sprintf("log/%010d", refs[1].Seq+1), []byte("junk"))
	ref, _ := mustSnapshot(t, w.open(w.writer), nights[0], 3)
	if ref.Seq != refs[1].Seq+2 {
		t.Errorf("entry %d, want %d", ref.Seq, refs[1].Seq+2)
	}
	r := w.open(w.owner)
	if len(r.Damage()) != 0 || len(r.Snapshots()) != 3 {
		t.Errorf("damage %v, %d snapshots", r.Damage(), len(r.Snapshots()))
	}
}

// What check --read-data finds damaged is not referenced any more: the next snapshot stores it again, and older ones are
// whole once more.
func TestDamageHeals(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	c := content{repo.Media: blobs(5, 20, 50000), repo.Meta: blobs(6, 3, 100)}
	first, _ := mustSnapshot(t, w.open(w.writer), c, 1)
	for _, n := range st.Names() {
		if strings.HasPrefix(n, "packs/") && len(st.Bytes(n)) > 100_000 {
			st.Corrupt(n, 50_000)
		}
	}
	o := w.open(w.owner)
	if err := verify(t.Context(), o, first, c); err == nil {
		t.Fatal("a damaged pack is read as if it were whole")
	}
	res, problems := check(t, o, upkeep.CheckOptions{Read: &upkeep.Subset{Percent: 100}})
	if len(problems) != 1 || len(res.Damaged) != 1 {
		t.Fatalf("check: %v, bad %v", problems, res.Damaged)
	}
	if err := upkeep.ReportDamaged(t.Context(), o, res.Damaged); err != nil {
		t.Fatal(err)
	}
	_, stats := mustSnapshot(t, w.open(w.writer), c, 2)
	if stats[repo.Media].Fresh != stats[repo.Media].Logical {
		t.Errorf("the next snapshot: %+v", stats[repo.Media])
	}
	if err := verify(t.Context(), w.open(w.owner), first, c); err != nil {
		t.Errorf("the older snapshot: %v", err)
	}
}

// A pack that the storage lost is noticed by the next snapshot, which stores again what it needs of it.
func TestLostPack(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	c := content{repo.Media: blobs(5, 20, 50000)}
	first, _ := mustSnapshot(t, w.open(w.writer), c, 1)
	for _, n := range st.Names() {
		if strings.HasPrefix(n, "packs/") {
			if err := st.Remove(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, problems := check(t, w.open(w.writer), upkeep.CheckOptions{}); len(problems) == 0 {
		t.Error("check finds nothing")
	}
	if _, err := upkeep.Prune(t.Context(), w.open(w.owner), mark, upkeep.PruneOptions{}); err == nil {
		t.Error("prune of a repository that lost a pack succeeded")
	}
	_, stats := mustSnapshot(t, w.open(w.writer), c, 2)
	if stats[repo.Media].Fresh != stats[repo.Media].Logical {
		t.Errorf("the next snapshot: %+v", stats[repo.Media])
	}
	if err := verify(t.Context(), w.open(w.owner), first, c); err != nil {
		t.Errorf("the older snapshot: %v", err)
	}
}
