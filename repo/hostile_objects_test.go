package repo_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"permafrost/internal/storetest"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// hostileWounds are what a storage does to an object, given another of its kind.
var hostileWounds = map[string]func(st *storetest.Mem, name, other string){
	"extended": func(st *storetest.Mem, name, _ string) { st.Set(name, append(st.Bytes(name), "more"...)) },
	"swapped":  func(st *storetest.Mem, name, other string) { st.Set(name, st.Bytes(other)) },
	"removed":  func(st *storetest.Mem, name, _ string) { st.Delete(name) },
	"copied": func(st *storetest.Mem, name, _ string) {
		if strings.HasPrefix(name, "log/") {
			st.Set("log/0000000088", st.Bytes(name))
			return
		}
		slash, digits := strings.LastIndexByte(name, '/'), "cd"
		if strings.HasPrefix(name, "packs/") {
			digits = name[slash-2 : slash]
		}
		st.Set(name[:slash+1]+strings.Repeat(digits+"ab", 64)[:64]+strings.Repeat(".age", strings.Count(name, "keys/")), st.Bytes(name))
	},
}

// Whatever is done to an object of any kind, whoever reads gets what was stored or an error, a check names what is wrong,
// a prune loses nothing, and what a host that remembers everything commits next comes back on a machine that does not,
// once the index is repaired if it was that.
// Flips and cuts of each byte are TestMangledObjects' matter.
func TestHostileObjects(t *testing.T) {
	w, st, nights, refs := small(t)
	second, err := w.owner.ForOwner("second")
	if err != nil {
		t.Fatal(err)
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.open(w.owner).AddPerson(t.Context(), second, ledger.Person{Name: "second"}, id.Recipient(), id.Recipient().String()); err != nil {
		t.Fatal(err)
	}
	third, _ := mustSnapshot(t, w.open(w.writer), nights[0], 3)
	nights, refs = append(nights, nights[0]), append(refs, third)
	cases := 0
	for _, name := range st.Names() {
		if name == "reserve" {
			continue // nobody reads it
		}
		for _, how := range slices.Sorted(maps.Keys(hostileWounds)) {
			other := anotherLike(st.Names(), name)
			if how == "swapped" && other == "" {
				continue
			}
			cases++
			t.Run(strings.ReplaceAll(name, "/", "_")+" "+how, func(t *testing.T) {
				h := hostileCase{t, w, st.CloneFor(t), nights, refs, name, how}
				hostileWounds[how](h.st, name, other)
				h.try()
			})
		}
	}
	t.Logf("%d cases", cases)
}

// anotherLike returns another object of the same kind, or "".
func anotherLike(names []string, name string) string {
	kind, _, _ := strings.Cut(name, "/")
	i := slices.IndexFunc(names, func(n string) bool { return n != name && strings.HasPrefix(n, kind+"/") })
	if i < 0 {
		return ""
	}
	return names[i]
}

type hostileCase struct {
	t      *testing.T
	w      *world
	st     *storetest.Mem
	nights []content
	refs   []ledger.SnapshotRef
	name   string
	how    string
}

// harmless reports that the wound makes no difference to anybody.
func (h *hostileCase) harmless() bool { return h.how == "copied" && !strings.HasPrefix(h.name, "log/") }

func (h *hostileCase) try() {
	t := h.t
	whole, err := readAll(t, h.st, h.w.owner, h.nights, h.refs)
	if h.harmless() && (err != nil || len(whole) != len(h.refs)) {
		t.Errorf("what is harmless does harm: %d snapshots, %v", len(whole), err)
	}
	if err == nil || len(whole) > 0 || !strings.HasPrefix(h.name, "config") && h.name != "log/0000000000" {
		h.check()
	}
	r, err := openFresh(t.Context(), h.st, h.w.owner)
	if err != nil {
		return // nothing is done with it at all
	}
	_, err = upkeep.Prune(t.Context(), r, mark, upkeep.PruneOptions{})
	if h.harmless() && err != nil {
		t.Errorf("prune: %v", err)
	}
	h.next()
	if after, _ := readAll(t, h.st, h.w.owner, h.all(), h.refs); len(after) < len(whole) {
		t.Errorf("of %d snapshots that were whole a prune left %d", len(whole), len(after))
	}
}

// all are the nights with the next one.
func (h *hostileCase) all() []content { return append(slices.Clone(h.nights), h.nights[1]) }

// check asserts that the object is named, by somebody without a memory, unless there is no harm or nobody could know.
func (h *hostileCase) check() {
	r, err := openFresh(h.t.Context(), h.st, h.w.owner)
	if err != nil {
		h.t.Errorf("open: %v", err)
		return
	}
	res, problems := check(h.t, r, upkeep.CheckOptions{Read: &upkeep.Subset{Percent: 100}})
	last := h.name == fmt.Sprintf("log/%010d", h.refs[len(h.refs)-1].Seq)
	want := h.name
	switch {
	case h.harmless(), last && h.how == "removed":
		if len(problems) > 0 {
			h.t.Errorf("check finds %v", problems)
		}
		if h.harmless() && h.name != "config" && res.Unused+res.Unnamed != 1 {
			h.t.Errorf("check does not see what is not in use: %+v", res)
		}
		return
	case h.how == "copied":
		want = "log/0000000088"
	}
	if !slices.ContainsFunc(problems, func(err error) bool {
		var d *store.DamageError
		return errors.As(err, &d) && d.Object == want
	}) {
		h.t.Errorf("check does not name %s: %v", want, problems)
	}
	if err := upkeep.ReportDamaged(h.t.Context(), r, res.Damaged); err != nil && len(r.Damage()) == 0 {
		h.t.Error(err)
	}
}

// next makes the next snapshot on the host that knows the repository, in its cache and state.
func (h *hostileCase) next() {
	mine := *h.w
	mine.dir = h.t.TempDir()
	if err := os.CopyFS(mine.dir, os.DirFS(h.w.dir)); err != nil {
		h.t.Fatal(err)
	}
	host, err := mine.tryOpen(h.st, h.w.writer)
	var rolled *ledger.RollbackError
	if errors.As(err, &rolled) {
		return
	}
	if err != nil {
		h.t.Fatalf("open: %v", err)
	}
	ref, _, err := snapshot(h.t.Context(), host, h.nights[1], 4)
	if err != nil {
		if len(host.Damage()) == 0 {
			h.t.Errorf("snapshot: %v", err)
		}
		return
	}
	h.refs = append(slices.Clone(h.refs), ref)
	if strings.HasPrefix(h.name, "index/") && h.how != "removed" {
		// This host knows still what the index object said, and the storage shows one of that name.
		if err := repairIndex(h.t.Context(), fresh(h.t, h.st, h.w.owner)); err != nil {
			h.t.Errorf("repair of the index: %v", err)
		}
	}
	if err := verify(h.t.Context(), fresh(h.t, h.st, h.w.owner), ref, h.nights[1]); err != nil {
		h.t.Errorf("the next snapshot: %v", err)
	}
}
