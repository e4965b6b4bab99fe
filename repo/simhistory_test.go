package repo_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"permafrost/chunk"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// A simHistory is what the parties of a simulation find: some snapshots, some of them forgotten, so that a prune has packs
// to delete, packs to rewrite and duplicates to drop; and what the storage has lost of that.
type simHistory struct {
	name                 string
	mem                  *storetest.Mem
	owner, writer, other *keys.Keyring // other: of a writer for another instance; nil: there is but one
	kept, gone           []ledger.SnapshotRef
	stored               [][]string // the index objects and packs that each snapshot brought
	end                  time.Time  // by the bubble's clock

	lies            bool             // a listing is false
	noIndex, noPack bool             // an index object, or a pack, is lost or damaged
	lost            map[simBlob]bool // what can't be read
	left            map[simBlob]bool // what can't be read after repairs
}

// A simBlob is what is looked for in a snapshot.
type simBlob struct {
	host string
	comp repo.Component
	i    int
}

const simOther = "other.example"

// simContents are what the hosts of a simulation's snapshots hold. Parties reference what forgotten snapshots left, on what
// a prune moves, and on what another party stores at the same time. s3 references nothing: what a prune can name of it is what
// it has uploaded itself. The other instance stores much that the first one has too.
var simContents = map[string]content{
	"past1": simContent("ab"), "past2": simContent("bc"), "past3": simContent("d"), "past4": simContent("ce"),
	"s1": simContent("bdf"), "s2": simContent("adfg"), "s3": simContent("fi"), "next": simContent("abcdefghi"),
	"other's past1": simContent("abdx"), "other's past2": simContent("bxyz"),
	"other's s1": simContent("adfx"), "other's next": simContent("abcdefghixyz"),
}

// simHeld returns what a host holds: what stands behind a # tells it from others that hold the same.
func simHeld(host string) content {
	kind, _, _ := strings.Cut(host, "#")
	return simContents[kind]
}

// simContent has two blobs for each letter, in two components. That of z is long enough for its pack to be damaged in one
// place and read in another.
func simContent(letters string) content {
	c := make(content)
	for _, l := range letters {
		c[repo.Meta] = append(c[repo.Meta], []byte(strings.Repeat(string(l), 40)))
		data := []byte(strings.Repeat(string(l)+"data ", 100))
		if l == 'z' {
			data = make([]byte, 90_000)
			rand.NewChaCha8([32]byte{26}).Read(data)
		}
		c[repo.Postgres] = append(c[repo.Postgres], data)
	}
	return c
}

func simInstance(host string) string {
	if strings.HasPrefix(host, "other's ") {
		return simOther
	}
	return instance
}

// simSnapshot makes the snapshot of a host, in an order that is always the same.
func simSnapshot(ctx context.Context, r *repo.Repo, host string) (ledger.SnapshotRef, error) {
	w, err := r.NewWriter(ctx, simInstance(host))
	if err != nil {
		return ledger.SnapshotRef{}, err
	}
	defer w.Abort()
	return simCommit(ctx, w, host)
}

func simCommit(ctx context.Context, w *repo.Writer, host string) (ledger.SnapshotRef, error) {
	text, err := simHeld(host).add(ctx, w)
	if err != nil {
		return ledger.SnapshotRef{}, err
	}
	when := time.Now().UTC()
	return w.Commit(ctx, text, ledger.SnapshotInfo{Instance: simInstance(host), Host: host, Date: when.Format(time.DateOnly), Time: when})
}

// A simPast is the histories that a scenario is tried on in turn.
type simPast map[string][]*simHistory

// newSimPast makes the past, in bubbles, so that its times fit those of the simulations.
func newSimPast(t *testing.T) simPast {
	cheap(t)
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	other, err := w.owner.NewWriter("web2")
	if err != nil {
		t.Fatal(err)
	}
	// What the package shares for good must be made outside any bubble: it outlives it.
	warm := storetest.NewMem(t)
	ww := newWorld(t, warm, repo.InitOptions{})
	ref, _ := mustSnapshot(t, ww.open(ww.writer), simContents["next"], 1)
	if err := verify(t.Context(), ww.open(ww.owner), ref, simContents["next"]); err != nil {
		t.Fatal(err)
	}
	one := &simHistory{name: "one instance", mem: storetest.NewMem(t), owner: w.owner, writer: w.writer}
	two := &simHistory{name: "two instances", mem: storetest.NewMem(t), owner: w.owner, writer: w.writer, other: other}
	for _, h := range []*simHistory{one, two} {
		synctest.Test(t, func(t *testing.T) { h.fill(t) })
	}
	past := simPast{"one": {one}, "two": {two}}
	two.harms(t, past)
	return past
}

func (h *simHistory) fill(t *testing.T) {
	ctx := t.Context()
	if err := initRepo(ctx, h.mem, h.owner, h.writer, repo.InitOptions{Instance: instance}); err != nil {
		t.Fatal(err)
	}
	if h.other != nil {
		if err := h.open(t, h.owner).AddPerson(ctx, h.other, ledger.Person{Name: "web2", Instance: simOther, MayForget: true}, nil, ""); err != nil {
			t.Fatal(err)
		}
	}
	early := h.open(t, h.writer)
	w, err := early.NewWriter(ctx, instance) // knows of none of the others, and stores their blobs again
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	refs := make(map[string]ledger.SnapshotRef)
	for _, host := range []string{"past1", "past2", "past3", "other's past1", "other's past2"} {
		k := h.writer
		if simInstance(host) == simOther {
			if k = h.other; k == nil {
				continue
			}
		}
		r := h.open(t, k)
		refs[host] = h.made(t, func() (ledger.SnapshotRef, error) { return simSnapshot(ctx, r, host) })
	}
	time.Sleep(time.Minute)
	refs["past4"] = h.made(t, func() (ledger.SnapshotRef, error) { return simCommit(ctx, w, "past4") })
	h.kept, h.gone = []ledger.SnapshotRef{refs["past2"], refs["past4"]}, []ledger.SnapshotRef{refs["past1"], refs["past3"]}
	if h.other != nil {
		h.kept, h.gone = append(h.kept, refs["other's past2"]), append(h.gone, refs["other's past1"])
	}
	h.mustForget(t, h.gone)
	h.end = time.Now().Add(time.Minute)
}

func (h *simHistory) open(t *testing.T, k *keys.Keyring) *repo.Repo {
	time.Sleep(time.Minute)
	r, err := openFresh(t.Context(), h.mem, k)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// made notes what a snapshot brings.
func (h *simHistory) made(t *testing.T, snapshot func() (ledger.SnapshotRef, error)) ledger.SnapshotRef {
	before := h.mem.Names()
	ref, err := snapshot()
	if err != nil {
		t.Fatal(err)
	}
	h.stored = append(h.stored, slices.DeleteFunc(h.mem.Names(), func(n string) bool {
		return slices.Contains(before, n) || !strings.HasPrefix(n, "packs/") && !strings.HasPrefix(n, "index/")
	}))
	// In an order that no name decides: packs differ in size.
	slices.SortFunc(h.stored[len(h.stored)-1], func(a, b string) int {
		return cmp.Or(cmp.Compare(a[:2], b[:2]), cmp.Compare(len(h.mem.Bytes(a)), len(h.mem.Bytes(b))))
	})
	return ref
}

func (h *simHistory) mustForget(t *testing.T, refs []ledger.SnapshotRef) {
	var ids []store.Name
	for _, ref := range refs {
		ids = append(ids, ref.ID)
	}
	if err := upkeep.Forget(t.Context(), h.open(t, h.owner), ids); err != nil {
		t.Fatal(err)
	}
}

// simHarms are how a pack is damaged. Where its size does not tell, a check has called it bad.
var simHarms = map[string]func(t *testing.T, h *simHistory, pack string){
	"removed": func(_ *testing.T, h *simHistory, pack string) { h.mem.Delete(pack) },
	"cut":     func(_ *testing.T, h *simHistory, pack string) { h.mem.Set(pack, h.mem.Bytes(pack)[:1000]) },
	"longer":  func(_ *testing.T, h *simHistory, pack string) { h.mem.Set(pack, append(h.mem.Bytes(pack), 1)) },
	"flipped": func(t *testing.T, h *simHistory, pack string) { h.mem.Corrupt(pack, -100); h.mustMark(t, pack) },
	"sound":   func(t *testing.T, h *simHistory, pack string) { h.mustMark(t, pack) },
}

func (h *simHistory) mustMark(t *testing.T, pack string) {
	name, err := store.ParseName(pack[len("packs/ab/"):])
	if err == nil {
		err = upkeep.ReportDamaged(t.Context(), h.open(t, h.owner), []store.Name{name})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// harms adds what can become of the history: index objects are lost, or packs, or both, and that may have been repaired.
func (h *simHistory) harms(t *testing.T, past simPast) {
	kinds := func(names []string) (index, packs []string) {
		n := slices.IndexFunc(names, func(n string) bool { return strings.HasPrefix(n, "packs/") })
		return names[:n], names[n:]
	}
	add := func(key, name string, noIndex, noPack bool, f func(*testing.T, *simHistory)) {
		past[key] = append(past[key], h.harm(t, name, noIndex, noPack, f))
	}
	for i, stored := range h.stored {
		index, packs := kinds(stored)
		host := fmt.Sprintf("snapshot %d's ", i)
		add("index", host+"index lost", true, false, func(_ *testing.T, d *simHistory) { d.remove(index) })
		add("both", host+"index and packs lost", true, true, func(_ *testing.T, d *simHistory) { d.remove(stored) })
		for j, p := range packs {
			for _, how := range slices.Sorted(maps.Keys(simHarms)) {
				name := fmt.Sprintf("%spack %d %s", host, j, how)
				add("packs", name, false, true, func(t *testing.T, d *simHistory) { simHarms[how](t, d, p) })
				if how == "removed" || how == "longer" {
					continue // nobody knows how long it was
				}
				add("both", name+", index lost", true, true, func(t *testing.T, d *simHistory) { simHarms[how](t, d, p); d.remove(index) })
			}
		}
	}
	// Only the repair of the index finds this out: nobody references what none lists.
	index, packs := kinds(h.stored[4])
	add("spoilt", "a long pack spoilt, its index lost", true, true, func(_ *testing.T, d *simHistory) {
		d.mem.Corrupt(packs[1], 20_000)
		d.remove(index)
	})
	add("index", "all of the index lost", true, false, func(_ *testing.T, d *simHistory) {
		for _, stored := range d.stored {
			index, _ := kinds(stored)
			d.remove(index)
		}
	})
	add("shared", "packs of one listed for both", false, false, func(t *testing.T, d *simHistory) { d.lie(t) })
}

// lie lets a thief of a key, which is taken from him then, list the first instance's packs for the other one. No snapshot
// needs any of them any more.
func (h *simHistory) lie(t *testing.T) {
	ctx := t.Context()
	thief, err := h.owner.NewWriter("thief")
	if err == nil {
		err = h.open(t, h.owner).AddPerson(ctx, thief, ledger.Person{Name: "thief", Instance: simOther}, nil, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	listed, err := h.open(t, thief).PutLies(ctx, simOther, repo.AsItIs, func(n int) int { return n })
	if err == nil {
		e := &ledger.SnapshotEntry{Indexes: listed, SnapshotInfo: ledger.SnapshotInfo{Instance: simOther, Host: "thief"}}
		err = h.open(t, thief).PublishSnapshot(ctx, []byte(`{"blobs":{}}`), e)
	}
	if err == nil {
		err = h.open(t, h.owner).RemovePerson(ctx, "thief")
	}
	if err != nil {
		t.Fatal(err)
	}
	all := h.open(t, h.owner).Snapshots()
	h.mustForget(t, all)
	h.gone, h.kept, h.lies = slices.Concat(h.gone, all), nil, true
}

func (h *simHistory) remove(objects []string) {
	for _, n := range objects {
		h.mem.Delete(n)
	}
}

func repairAll(ctx context.Context, st store.Store, owner *keys.Keyring) error {
	r, err := openFresh(ctx, st, owner)
	if err != nil {
		return err
	}
	return errors.Join(repairIndex(ctx, r), repairPacks(ctx, r))
}

// harm returns a history to which something has happened.
func (h *simHistory) harm(t *testing.T, name string, noIndex, noPack bool, f func(*testing.T, *simHistory)) *simHistory {
	d := *h
	d.name, d.mem, d.noIndex, d.noPack = name, h.mem.CloneFor(t), noIndex, noPack
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(h.end))
		f(t, &d)
		d.lost = d.unread(t, d.mem)
		repaired := d.mem.Clone()
		if err := repairAll(t.Context(), repaired, d.owner); err != nil {
			t.Fatal(err)
		}
		d.left = d.unread(t, repaired)
		d.end = time.Now().Add(time.Minute)
	})
	if !noPack && len(d.left) > 0 {
		t.Fatalf("%s: %d blobs can't be read after a repair", name, len(d.left))
	}
	return &d
}

// unread returns what can't be read of the snapshots that are kept.
func (h *simHistory) unread(t *testing.T, st store.Store) map[simBlob]bool {
	r, err := openFresh(t.Context(), st, h.owner)
	if err != nil {
		t.Fatal(err)
	}
	lost := make(map[simBlob]bool)
	if err := simRead(t.Context(), r, h.kept, func(b simBlob, _ error) error { lost[b] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	return lost
}

// simRead reads snapshots, and calls damaged for each blob that does not come back.
func simRead(ctx context.Context, r *repo.Repo, refs []ledger.SnapshotRef, damaged func(simBlob, error) error) error {
	readers := make(map[string]*repo.Reader)
	for _, ref := range refs {
		if readers[ref.Instance] == nil {
			rd, err := r.NewReader(ctx, ref.Instance)
			if err != nil {
				return err
			}
			readers[ref.Instance] = rd
		}
		if err := simReadOne(ctx, r, readers[ref.Instance], ref, damaged); err != nil {
			return err
		}
	}
	return nil
}

func simReadOne(ctx context.Context, r *repo.Repo, rd *repo.Reader, ref ledger.SnapshotRef, damaged func(simBlob, error) error) error {
	text, err := r.Manifest(ctx, ref)
	if err != nil {
		return fmt.Errorf("the snapshot of %s: %w", ref.Host, err)
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return err
	}
	for comp, blobs := range simHeld(ref.Host) {
		for i, want := range blobs {
			id, err := chunk.ParseID(m.Blobs[comp.String()][i])
			if err != nil {
				return err
			}
			if got, err := rd.Blob(ctx, id); err != nil || !bytes.Equal(got, want) {
				err = cmp.Or(err, errors.New("other bytes"))
				if err := damaged(simBlob{ref.Host, comp, i}, err); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// simScenarios are who works at once, and on what past. "s1 again" goes on from the journal that s1, the first, left where
// that died.
var simScenarios = []struct {
	past    string
	parties []string
}{
	{"one", []string{"s1", "prune"}},
	{"one", []string{"s1", "s2", "prune"}},
	{"one", []string{"s1", "prune", "prune by the writer"}},
	{"one", []string{"s1", "s1 again", "prune"}},
	{"one", []string{"s1", "forget", "prune", "restore"}},
	{"one", []string{"s1", "s2", "prune", "prune by the writer", "forget", "check"}},
	{"one", []string{"s3", "prune", "prune by the writer"}},
	{"one", []string{"s3", "s3 again", "prune"}},
	{"two", []string{"s1", "other's s1", "prune by the other"}},
	{"two", []string{"s3", "s3 again", "prune by the other"}},
	{"two", []string{"s1", "other's s1", "forget", "prune by the writer", "prune by the other", "check"}},
	{"shared", []string{"s1", "prune by the other"}},
	{"shared", []string{"s1", "other's s1", "prune by the other", "prune"}},
	{"shared", []string{"s1", "prune by the writer", "repair packs", "prune by the other"}},
	{"index", []string{"s1", "other's s1", "repair the index", "prune by the other"}},
	{"index", []string{"s1", "repair the index", "repair the index", "prune", "prune by the writer"}},
	{"index", []string{"s1", "s1 again", "repair the index", "prune by the other", "check"}},
	{"packs", []string{"s1", "repair packs", "prune"}},
	{"packs", []string{"other's s1", "repair packs", "repair packs", "prune by the writer", "check"}},
	{"both", []string{"s1", "repair", "prune"}},
	{"spoilt", []string{"repair", "repair the index", "other's s1", "prune"}},
	{"both", []string{"s1", "other's s1", "repair", "repair", "prune by the other"}},
}
