package repo_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"permafrost/chunk"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

func TestSnapshotComesBack(t *testing.T) {
	w := newWorld(t, storetest.NewMem(t), repo.InitOptions{})
	c := night(1)
	c[repo.Media] = append(c[repo.Media], bytes.Repeat([]byte{7}, chunk.MaxSize), blobs(9, 1, 5<<20)[0])
	ref, stats := mustSnapshot(t, w.open(w.writer), c, 27)
	if stats[repo.Media].Fresh != stats[repo.Media].Logical || stats[repo.Media].Stored == 0 {
		t.Errorf("first night: %+v", stats[repo.Media])
	}
	r := w.open(w.owner)
	if s := r.Snapshots(); len(s) != 1 || s[0].ID != ref.ID || s[0].Date != "2026-06-27" || s[0].Writer != "web1" {
		t.Fatalf("snapshots: %+v", s)
	}
	if err := verify(t.Context(), r, ref, c); err != nil {
		t.Error(err)
	}
	if res := mustBeClean(t, r); !res.Deep || res.Snapshots != 1 || res.Unused != 0 {
		t.Errorf("check: %+v", res)
	}
}

func TestUnchangedNightStoresNothing(t *testing.T) {
	w := newWorld(t, storetest.NewMem(t), repo.InitOptions{})
	mustSnapshot(t, w.open(w.writer), night(1), 1)
	_, stats := mustSnapshot(t, w.open(w.writer), night(1), 2)
	for c, s := range stats {
		if s.Fresh != 0 || s.Stored != 0 || s.Blobs == 0 {
			t.Errorf("%v: %+v", c, s)
		}
	}
}

func TestSealedHost(t *testing.T) {
	w := newWorld(t, storetest.NewMem(t), repo.InitOptions{})
	c := night(1)
	ref, _ := mustSnapshot(t, w.open(w.writer), c, 1)
	r := w.open(w.writer)
	var need *keys.MissingKeyError
	if err := verify(t.Context(), r, ref, c); !errors.As(err, &need) {
		t.Errorf("reading content with the writer key: %v", err)
	}
	if res := mustBeClean(t, r); res.Deep {
		t.Error("a sealed host says that it read content")
	}
	if err := upkeep.Forget(t.Context(), r, []store.Name{ref.ID}); err != nil {
		t.Error(err)
	}
	if s := w.open(w.owner).Snapshots(); len(s) != 0 {
		t.Errorf("forgotten and still there: %v", s)
	}
}

func TestWriterThatMayNotForget(t *testing.T) {
	w := newWorld(t, storetest.NewMem(t), repo.InitOptions{AppendOnly: true})
	ref, _ := mustSnapshot(t, w.open(w.writer), night(1), 1)
	r := w.open(w.writer)
	if err := upkeep.Forget(t.Context(), r, []store.Name{ref.ID}); !errors.Is(err, ledger.ErrNotAllowed) {
		t.Errorf("forget: %v", err)
	}
	if _, err := upkeep.Prune(t.Context(), r, mark, upkeep.PruneOptions{}); !errors.Is(err, ledger.ErrNotAllowed) {
		t.Errorf("prune: %v", err)
	}
	if err := upkeep.Forget(t.Context(), w.open(w.owner), []store.Name{ref.ID}); err != nil {
		t.Error(err)
	}
}

func TestWriterOfAnotherInstance(t *testing.T) {
	w := newWorld(t, storetest.NewMem(t), repo.InitOptions{Instance: "other.example"})
	if _, _, err := snapshot(t.Context(), w.open(w.writer), night(1), 1); !errors.Is(err, ledger.ErrNotAllowed) {
		t.Error(err)
	}
}

func TestWriterOfAnyInstance(t *testing.T) {
	w := &world{t: t, dir: t.TempDir()}
	owner, err := keys.NewOwner()
	if err != nil {
		t.Fatal(err)
	}
	if w.writer, err = owner.NewWriter("web1"); err != nil {
		t.Fatal(err)
	}
	w.owner, w.store = owner, storetest.NewMem(t)
	if err := initRepo(t.Context(), w.store, owner, w.writer, repo.InitOptions{}); err != nil {
		t.Fatal(err)
	}
	mustSnapshot(t, w.open(w.writer), night(1), 1)
	ref, stats := mustSnapshot(t, w.open(w.writer), night(1), 2)
	if stats[repo.Media].Fresh != 0 {
		t.Errorf("the second night: %+v", stats[repo.Media])
	}
	if err := upkeep.Forget(t.Context(), w.open(w.writer), []store.Name{ref.ID}); err != nil {
		t.Error(err)
	}
}

func TestForgetAndPrune(t *testing.T) {
	for _, role := range []string{"owner", "writer"} {
		t.Run(role, func(t *testing.T) {
			st := storetest.NewMem(t)
			w := newWorld(t, st, repo.InitOptions{})
			key := w.owner
			if role == "writer" {
				key = w.writer
			}
			a, b := night(1), night(1)
			b[repo.Media] = append(b[repo.Media][:10:10], blobs(50, 5, 90000)...)
			b[repo.Postgres] = blobs(60, 60, 20000)
			first, _ := mustSnapshot(t, w.open(w.writer), a, 1)
			second, _ := mustSnapshot(t, w.open(w.writer), b, 2)
			r := w.open(key)
			if err := upkeep.Forget(t.Context(), r, []store.Name{first.ID}); err != nil {
				t.Fatal(err)
			}
			before := len(st.Names())
			res, err := upkeep.Prune(t.Context(), r, mark, upkeep.PruneOptions{MaxUnused: 0.05, Grace: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			if res.Removed == 0 || res.Freed == 0 || res.Manifests != 1 || len(st.Names()) >= before+3 {
				t.Errorf("prune: %+v, %d objects before, %d after", res, before, len(st.Names()))
			}
			if role == "writer" && res.Waiting == 0 || role == "owner" && (res.Waiting != 0 || res.Rewritten == 0) {
				t.Errorf("prune: %+v", res)
			}
			o := w.open(w.owner)
			if err := verify(t.Context(), o, second, b); err != nil {
				t.Error(err)
			}
			if res := mustBeClean(t, o); res.Unused != 0 {
				t.Errorf("check: %+v", res)
			}
			again, err := upkeep.Prune(t.Context(), w.open(key), mark, upkeep.PruneOptions{MaxUnused: 0.05, Grace: time.Hour})
			if err != nil || again.Removed != 0 {
				t.Errorf("a second prune: %+v, %v", again, err)
			}
			_, stats := mustSnapshot(t, w.open(w.writer), b, 3)
			for c, s := range stats {
				if s.Fresh != 0 {
					t.Errorf("after the prune %v is stored again: %+v", c, s)
				}
			}
		})
	}
}

// An interrupted run leaves packs that no index lists: the next run on that host uses them, a prune removes them.
func TestInterruptedRun(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	r := w.open(w.writer)
	wr, err := r.NewWriter(t.Context(), instance)
	if err != nil {
		t.Fatal(err)
	}
	c := content{repo.Media: blobs(3, 40, 2<<20)}
	for _, b := range c[repo.Media] {
		if _, err := wr.Add(t.Context(), repo.Media, wr.Sum(repo.Media, b), b); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(time.Minute); !hasPack(st); {
		if time.Now().After(deadline) {
			t.Fatal("no pack is uploaded before the snapshot ends")
		}
		runtime.Gosched()
	}
	wr.Abort()
	if s := w.open(w.writer).Snapshots(); len(s) != 0 {
		t.Fatal("an aborted snapshot is listed")
	}
	other := st.Clone()
	ref, stats := mustSnapshot(t, w.open(w.writer), c, 1)
	if s := stats[repo.Media]; s.Fresh == 0 || s.Fresh > s.Logical/2 {
		t.Errorf("the next run: %+v", s)
	}
	if err := verify(t.Context(), w.open(w.owner), ref, c); err != nil {
		t.Error(err)
	}
	r, err = openFresh(t.Context(), other, w.owner)
	if err != nil {
		t.Fatal(err)
	}
	res, err := upkeep.Prune(t.Context(), r, mark, upkeep.PruneOptions{Grace: -time.Hour})
	if err != nil || res.LeftOver == 0 {
		t.Errorf("prune: %+v, %v", res, err)
	}
	for _, n := range other.Names() {
		if strings.HasPrefix(n, "packs/") {
			t.Errorf("prune left %s", n)
		}
	}
}

func hasPack(st *storetest.Mem) bool {
	return slices.ContainsFunc(st.Names(), func(n string) bool { return strings.HasPrefix(n, "packs/") })
}

// What a prune would do once snapshots are forgotten is what it does then; and a dry run forgets nothing.
func TestPruneSupposing(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	first, _ := mustSnapshot(t, w.open(w.writer), night(1), 1)
	mustSnapshot(t, w.open(w.writer), night(50), 2)
	would := func(gone ...store.Name) upkeep.PruneResult {
		t.Helper()
		res, err := upkeep.Prune(t.Context(), w.open(w.owner), mark, upkeep.PruneOptions{DryRun: true, Forgotten: gone})
		if err != nil {
			t.Fatal(err)
		}
		return *res
	}
	if res := would(); res.Freed != 0 {
		t.Errorf("with nothing forgotten it would free %d bytes", res.Freed)
	}
	supposed := would(first.ID)
	if live := w.open(w.owner).Snapshots(); len(live) != 2 {
		t.Errorf("%d snapshots are left of 2", len(live))
	}
	if err := upkeep.Forget(t.Context(), w.open(w.owner), []store.Name{first.ID}); err != nil {
		t.Fatal(err)
	}
	if then := would(); supposed != then || then.Freed == 0 {
		t.Errorf("supposed %+v, and then it is %+v", supposed, then)
	}
	if did := mustPrune(t, st, w.owner); did.Freed != supposed.Freed || did.Removed != supposed.Removed {
		t.Errorf("supposed %+v, and it did %+v", supposed, *did)
	}
}

// A prune while a snapshot is being made: what the snapshot references is deleted, and it must not be committed.
func TestPruneDuringSnapshot(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	c := night(1)
	first, _ := mustSnapshot(t, w.open(w.writer), c, 1)
	wr, err := w.open(w.writer).NewWriter(t.Context(), instance)
	if err != nil {
		t.Fatal(err)
	}
	for comp, list := range c {
		for _, b := range list {
			if fresh, err := wr.Add(t.Context(), comp, wr.Sum(comp, b), b); fresh || err != nil {
				t.Fatal(fresh, err)
			}
		}
	}
	o := w.open(w.owner)
	if err := upkeep.Forget(t.Context(), o, []store.Name{first.ID}); err != nil {
		t.Fatal(err)
	}
	if _, err := upkeep.Prune(t.Context(), o, mark, upkeep.PruneOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = wr.Commit(t.Context(), []byte(`{"blobs":{}}`), ledger.SnapshotInfo{Instance: instance})
	if !errors.Is(err, repo.ErrPruned) {
		t.Fatalf("commit: %v", err)
	}
	ref, _ := mustSnapshot(t, w.open(w.writer), c, 2)
	if err := verify(t.Context(), w.open(w.owner), ref, c); err != nil {
		t.Error(err)
	}
}

func TestRolledBackLog(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	mustSnapshot(t, w.open(w.writer), night(1), 1)
	old := st.Clone()
	mustSnapshot(t, w.open(w.writer), night(2), 2)
	head := w.open(w.writer).Head()
	var rolled *ledger.RollbackError
	if _, err := w.tryOpen(old, w.writer); !errors.As(err, &rolled) || rolled.Remembered != head {
		t.Errorf("opening an older log: %v", err)
	}
	if _, err := openRepo(t.Context(), old, w.owner, repo.Options{Head: &head}); !errors.As(err, &rolled) {
		t.Errorf("opening an older log with a noted head: %v", err)
	}
	r, err := openRepo(t.Context(), old, w.writer, repo.Options{StateDir: filepath.Join(w.dir, "writer", "state"), AcceptHead: true})
	if err != nil {
		t.Fatal(err)
	}
	mustSnapshot(t, r, night(3), 3)
	if _, err := w.tryOpen(old, w.writer); err != nil {
		t.Errorf("after it was accepted: %v", err)
	}
}

func TestNoRepository(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, storetest.NewMem(t), repo.InitOptions{})
	if _, err := openFresh(t.Context(), st, w.owner); !errors.Is(err, repo.ErrNoRepository) {
		t.Errorf("open: %v", err)
	}
	if err := initRepo(t.Context(), w.store, w.owner, w.writer, repo.InitOptions{}); err == nil {
		t.Error("init over a repository succeeded")
	}
	other := newWorld(t, st, repo.InitOptions{})
	var foreign *repo.ForeignKeyError
	if _, err := openFresh(t.Context(), st, w.owner); !errors.As(err, &foreign) {
		t.Errorf("open with the key of another: %v", err)
	}
	st.Set("config", []byte(`{"format":2,"id":"`+strings.Repeat("ab", 32)+`","more":true}`))
	if _, err := openFresh(t.Context(), st, other.owner); !errors.Is(err, store.ErrNewerFormat) {
		t.Errorf("open of a newer format: %v", err)
	}
}

// No byte of what the snapshots hold, and no name, is readable in the store.
func TestNoPlaintext(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	secret := []byte("the quick brown fox writes a direct message")
	c := make(content)
	for _, comp := range []repo.Component{repo.Meta, repo.Secrets, repo.Postgres, repo.Redis, repo.Media} {
		c[comp] = [][]byte{append([]byte(comp.String()), secret...)}
	}
	mustSnapshot(t, w.open(w.writer), c, 1)
	for _, n := range st.Names() {
		data := st.Bytes(n)
		for _, s := range []string{string(secret), instance, "web1", "postgres", "2026-06-01"} {
			if bytes.Contains(data, []byte(s)) || strings.Contains(n, s) {
				t.Errorf("%s shows %q", n, s)
			}
		}
	}
}

// Several writers at once: each entry finds its own number, and nothing is lost.
func TestConcurrentCommits(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	const writers = 6
	errs := make(chan error, writers)
	for i := range writers {
		go func() {
			r, err := openFresh(t.Context(), st, w.writer)
			if err == nil {
				_, _, err = snapshot(t.Context(), r, night(uint64(i)), i+1)
			}
			errs <- err
		}()
	}
	for range writers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	r := w.open(w.owner)
	if n := len(r.Snapshots()); n != writers || r.Head().Seq != writers {
		t.Fatalf("%d snapshots, head %v", n, r.Head())
	}
	for _, s := range r.Snapshots() {
		var day int
		if _, err := fmt.Sscanf(s.Date, "2026-06-%d", &day); err != nil {
			t.Fatal(err)
		}
		if err := verify(t.Context(), r, s, night(uint64(day-1))); err != nil {
			t.Error(err)
		}
	}
}
