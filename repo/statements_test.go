package repo_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/cause"
	"permafrost/repo/keys"
	"permafrost/repo/lease"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// Who signs what, with the storage's help or without: what a statement is worth is decided by the list of keys.

// removed returns a repository with a snapshot of the instance, and the key of a writer that was on the list and is not any
// more.
func removed(t *testing.T) (w *world, st *storetest.Mem, gone *keys.Keyring) {
	t.Helper()
	st = storetest.NewMem(t)
	w = newWorld(t, st, repo.InitOptions{})
	gone, err := w.owner.NewWriter("gone")
	if err != nil {
		t.Fatal(err)
	}
	p := ledger.Person{Name: "gone", Instance: instance, MayForget: true}
	if err := w.open(w.owner).AddPerson(t.Context(), gone, p, nil, ""); err != nil {
		t.Fatal(err)
	}
	mustSnapshot(t, w.open(w.writer), night(1), 1)
	if err := w.open(w.owner).RemovePerson(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	return w, st, gone
}

// A lease of somebody who is not on the list of keys holds nobody up, and one of another instance's writer the owner alone.
func TestLeaseOfAnUnknown(t *testing.T) {
	elsewhere := []byte(`{"host":"elsewhere","pid":1}`)
	w, st, gone := removed(t)
	if err := fresh(t, st, gone).PutLease(t.Context(), elsewhere); err != nil {
		t.Fatal(err)
	}
	for _, k := range []*keys.Keyring{w.owner, w.writer} {
		r, err := openRepo(t.Context(), st, k, repo.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := upkeep.Prune(t.Context(), r, mark, upkeep.PruneOptions{}); err != nil {
			t.Errorf("beside a removed writer's lease, the %s's prune: %v", k.Role, err)
		}
	}
	w, st, evil, _, _ := twoInstances(t)
	if err := fresh(t, st, evil).PutLease(t.Context(), elsewhere); err != nil {
		t.Fatal(err)
	}
	for _, k := range []*keys.Keyring{w.writer, w.owner} {
		r, err := openRepo(t.Context(), st, k, repo.Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = upkeep.Prune(t.Context(), r, mark, upkeep.PruneOptions{})
		var locked *lease.LockedError
		if waits := errors.As(err, &locked); waits != (k == w.owner) || err != nil && !waits {
			t.Errorf("beside a lease of another instance's writer, the %s's prune: %v", k.Role, err)
		}
	}
}

// An entry of a format to come counts for as much as its signer: a removed writer's is junk.
func TestNewerEntryOfTheRemoved(t *testing.T) {
	w, st, gone := removed(t)
	if err := fresh(t, st, gone).PutNewerEntry(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := openFresh(t.Context(), st, w.writer); err != nil {
		t.Errorf("open: %v", err)
	}
	if err := fresh(t, st, w.writer).PutNewerEntry(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := openFresh(t.Context(), st, w.owner); !errors.Is(err, store.ErrNewerFormat) {
		t.Errorf("a newer entry by a writer on the list: %v", err)
	}
}

// Keys that a rotation made before it died are never used: another copy of the recovery file does not have them.
func TestRotationTakesFreshKeys(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	gone, err := w.owner.NewWriter("gone")
	if err != nil {
		t.Fatal(err)
	}
	if err := fresh(t, st, w.owner).AddPerson(t.Context(), gone, ledger.Person{Name: "gone", Instance: instance}, nil, ""); err != nil {
		t.Fatal(err)
	}
	first, _ := mustSnapshot(t, fresh(t, st, w.writer), night(1), 1)
	onDisk := w.owner
	save := func(k *keys.Keyring) error { onDisk = viaFile(t, k); return nil }
	view := &storetest.Hook{Store: st, Before: func(op storetest.Op) storetest.Fault {
		if op.Kind == "Put" && op.Name == number(3) { // that announces the new epoch
			return storetest.NotDone
		}
		return storetest.None
	}}
	if _, err := fresh(t, view, w.owner).Rotate(t.Context(), save); err == nil {
		t.Fatal("the rotation did not die")
	}
	if err := fresh(t, st, onDisk).RemovePerson(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := accepting(t, st, onDisk).Rotate(t.Context(), save); err != nil {
		t.Fatal(err)
	}
	second, _ := mustSnapshot(t, fresh(t, st, w.writer), night(2), 2)
	if r, err := openFresh(t.Context(), st, gone); err == nil {
		t.Errorf("who was removed before the rotation opens what came after it: %d snapshots", len(r.Snapshots()))
	}
	for _, k := range []*keys.Keyring{w.owner, onDisk} {
		r := fresh(t, st, k)
		if err := errors.Join(verify(t.Context(), r, first, night(1)), verify(t.Context(), r, second, night(2))); err != nil {
			t.Error(err)
		}
	}
}

// A valid entry under a far number is none: the log goes on under the next one, a check names the object, the owner's prune
// removes it, and nobody who saw it misses anything.
func TestFarEntry(t *testing.T) {
	for _, far := range []uint64{4999, 9_999_999} {
		w, st, evil, _, _ := twoInstances(t)
		name := fmt.Sprintf("log/%010d", far)
		if err := fresh(t, st, evil).PublishAt(t.Context(), evilSnapshot(), far); err != nil {
			t.Fatal(err)
		}
		saw := w.open(w.owner) // as a machine that remembers
		if n := len(saw.Snapshots()); n != 1 {
			t.Fatalf("%d snapshots", n)
		}
		ref, _ := mustSnapshot(t, w.open(w.writer), night(2), 2)
		if ref.Seq != saw.Head().Seq+1 {
			t.Errorf("the next entry is %d", ref.Seq)
		}
		if err := w.open(w.owner).RemovePerson(t.Context(), "evil"); err != nil {
			t.Error(err)
		}
		res, problems := check(t, w.open(w.owner), upkeep.CheckOptions{})
		if len(problems) > 0 || res.Junk != 1 || !slices.Contains(res.Strays, name) {
			t.Errorf("check: %v, %+v", problems, res)
		}
		if _, err := upkeep.Prune(t.Context(), w.open(w.writer), mark, upkeep.PruneOptions{}); err != nil || !slices.Contains(st.Names(), name) {
			t.Errorf("a writer's prune: %v", err)
		}
		if _, err := upkeep.Prune(t.Context(), w.open(w.owner), mark, upkeep.PruneOptions{}); err != nil || slices.Contains(st.Names(), name) {
			t.Errorf("the owner's prune: %v", err)
		}
		mustBeClean(t, w.open(w.owner))
		mustBeClean(t, w.open(w.writer))
	}
}

// number is the name of a log entry.
func number(seq uint64) string { return fmt.Sprintf("log/%010d", seq) }

// refused asserts that a log from which the storage has left out entries is noticed: nothing is added to it, and a check
// names a problem. It returns what was said of it.
func refused(t *testing.T, who string, r *repo.Repo, err error) string {
	t.Helper()
	var rolled *ledger.RollbackError
	if errors.As(err, &rolled) {
		return err.Error()
	}
	if err != nil {
		t.Fatalf("%s: %v", who, err)
	}
	if len(r.Damage()) == 0 {
		t.Errorf("%s: no damage", who)
	}
	res, problems := check(t, r, upkeep.CheckOptions{})
	if len(problems) == 0 {
		t.Errorf("%s: check finds nothing: %+v", who, res)
	}
	if r.Key().Role == keys.RoleWriter {
		if _, err := r.NewWriter(t.Context(), instance); err == nil {
			t.Errorf("%s: a snapshot begins", who)
		}
	}
	if err := upkeep.ReportDamaged(t.Context(), r, []store.Name{{1}}); err == nil {
		t.Errorf("%s: something was added to the log", who)
	}
	if _, err := upkeep.Prune(t.Context(), r, mark, upkeep.PruneOptions{}); err == nil {
		t.Errorf("%s: pruned", who)
	}
	return fmt.Sprint(r.Damage())
}

// acceptAll has somebody sign, behind the newest entry, that each place where the log may be broken is accepted.
func acceptAll(t *testing.T, st *storetest.Mem, k *keys.Keyring, newest ledger.Head) {
	t.Helper()
	var heads []ledger.Head
	for _, name := range objectsOf(st, "log") {
		h, err := ledger.ParseHead(fmt.Sprintf("%s:%x", strings.TrimPrefix(name, "log/"), sha256.Sum256(st.Bytes(name))))
		if err != nil {
			t.Fatal(err)
		}
		heads = append(heads, h)
	}
	accept := new(ledger.AcceptEntry)
	for _, after := range heads {
		for _, at := range heads {
			accept.Breaks = append(accept.Breaks, ledger.Break{After: after, At: at})
		}
	}
	if err := fresh(t, st, k).PublishAfter(t.Context(), &ledger.Entry{Accept: accept}, newest); err != nil {
		t.Fatal(err)
	}
}

// A storage leaves out the entries by which a writer was removed and the keys were rotated, keeps the newest, and the removed
// writer signs that this is right: everybody notices who has seen the log, and so does the owner who has not.
func TestRemovedWriterAcceptsDamage(t *testing.T) {
	for _, rotated := range []bool{false, true} {
		w, st, gone := removed(t)
		var lost []uint64
		last := w.open(w.owner).Head().Seq
		recovery := w.owner
		if rotated {
			if _, err := w.open(w.owner).Rotate(t.Context(), func(k *keys.Keyring) error { recovery = k; return nil }); err != nil {
				t.Fatal(err)
			}
		}
		for seq := last; seq <= w.open(w.owner).Head().Seq; seq++ {
			lost = append(lost, seq)
		}
		mustSnapshot(t, w.open(w.writer), night(2), 2)
		w.open(w.owner)
		newest := w.open(w.owner).Head()
		for _, seq := range lost {
			st.Delete(number(seq))
		}
		acceptAll(t, st, gone, newest)
		for _, k := range []*keys.Keyring{w.writer, w.owner} {
			r, err := w.tryOpen(st, k)
			refused(t, fmt.Sprintf("the %s's machine, rotated %v", k.Role, rotated), r, err)
		}
		r, err := openFresh(t.Context(), st, recovery)
		refused(t, fmt.Sprintf("the owner, rotated %v", rotated), r, err)
	}
}

// A storage leaves out a snapshot's entry, and a writer of another instance signs that this is right: the owner's prune does
// not take what the snapshot holds for left over.
func TestWriterAcceptsLostSnapshot(t *testing.T) {
	w, st, evil, ref, c := twoInstances(t)
	mustSnapshot(t, w.open(w.writer), night(2), 2)
	newest := w.open(w.owner).Head()
	entry := st.Bytes(number(ref.Seq))
	st.Delete(number(ref.Seq))
	acceptAll(t, st, evil, newest)
	for _, name := range st.Names() {
		older(st, name)
	}
	r, err := openFresh(t.Context(), st, w.owner)
	refused(t, "the owner", r, err)
	st.Set(number(ref.Seq), entry)
	if err := verify(t.Context(), fresh(t, st, w.owner), ref, c); err != nil {
		t.Error(err)
	}
}

// A removed writer signs an entry in the place of one that removed it: the entries that continue from the true one tell.
func TestForkedLog(t *testing.T) {
	w, st, evil, _, _ := twoInstances(t)
	forger := st.Clone()
	if err := fresh(t, forger, evil).PublishRaw(t.Context(), evilSnapshot()); err != nil {
		t.Fatal(err)
	}
	if err := w.open(w.owner).RemovePerson(t.Context(), "evil"); err != nil {
		t.Fatal(err)
	}
	removal := w.open(w.owner).Head().Seq
	for n := range 2 {
		mustSnapshot(t, w.open(w.writer), night(2), 2+n)
	}
	w.open(w.owner)
	st.Set(number(removal), forger.Bytes(number(removal)))
	st.Delete(number(removal + 1))
	for _, k := range []*keys.Keyring{w.writer, w.owner} {
		r, err := w.tryOpen(st, k)
		refused(t, fmt.Sprintf("the %s's machine", k.Role), r, err)
	}
	r, err := openFresh(t.Context(), st, w.owner)
	refused(t, "the owner", r, err)
	st.Delete(number(removal))
	st.Set(number(removal), forger.Bytes(number(removal)))
	st.Set(number(removal+1), []byte("junk"))
	r, err = openFresh(t.Context(), st, w.owner)
	refused(t, "the owner", r, err)
}

// Where the list of keys and the keys in use are lost, an owner states both anew, and nobody else adds anything before.
func TestLostRosterIsStatedAnew(t *testing.T) {
	w, st, gone := removed(t)
	removal := w.open(w.owner).Head().Seq
	recovery := w.owner
	save := func(k *keys.Keyring) error { recovery = viaFile(t, k); return nil }
	if _, err := w.open(w.owner).Rotate(t.Context(), save); err != nil {
		t.Fatal(err)
	}
	ref, _ := mustSnapshot(t, w.open(w.writer), night(2), 2)
	for seq := removal; seq < ref.Seq; seq++ {
		st.Delete(number(seq))
	}
	accepting := func() *repo.Repo {
		t.Helper()
		r, err := openRepo(t.Context(), st, recovery, repo.Options{AcceptHead: true})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if err := upkeep.ReportDamaged(t.Context(), accepting(), []store.Name{{1}}); err == nil {
		t.Error("something is added though the list of keys is lost")
	}
	if r := fresh(t, st, recovery); len(r.Damage()) != 2 || causeOf(r.Damage()[0]) != cause.LostRoster {
		t.Errorf("damage: %v", r.Damage())
	}
	if _, err := upkeep.Prune(t.Context(), fresh(t, st, recovery), mark, upkeep.PruneOptions{}); err == nil {
		t.Error("pruned though the list of keys is lost")
	}
	if err := fresh(t, st, recovery).RemovePerson(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := fresh(t, st, w.writer).NewWriter(t.Context(), instance); err == nil {
		t.Error("a snapshot begins under keys that the removed writer has")
	}
	if _, err := fresh(t, st, recovery).Rotate(t.Context(), save); err != nil {
		t.Fatal(err)
	}
	mustSnapshot(t, fresh(t, st, w.writer), night(3), 3)
	if _, err := openFresh(t.Context(), st, gone); err == nil {
		t.Error("who was removed opens the log")
	}
	if err := verify(t.Context(), fresh(t, st, recovery), ref, night(2)); err != nil {
		t.Error(err)
	}
	mustBeClean(t, fresh(t, st, recovery))
}

// What an entry says that it builds on must be so: one that lies is passed over, and stands in nobody's way.
func TestFalseBasis(t *testing.T) {
	for name, lie := range map[string]func(*ledger.Basis){
		"an older list of keys": func(b *ledger.Basis) { b.Roster = 0 },
		"a newer list of keys":  func(b *ledger.Basis) { b.Roster++ },
		"another epoch":         func(b *ledger.Basis) { b.Epoch = 1 },
		"fewer snapshots":       func(b *ledger.Basis) { b.Snapshots-- },
		"more snapshots":        func(b *ledger.Basis) { b.Snapshots += 1 << 60 },
	} {
		t.Run(name, func(t *testing.T) {
			w, st, evil, ref, c := twoInstances(t)
			r := fresh(t, st, evil)
			r.Believe(lie)
			if err := r.PublishRaw(t.Context(), evilSnapshot()); err != nil {
				t.Fatal(err)
			}
			o := fresh(t, st, w.owner)
			if len(o.Snapshots()) != 1 || len(o.Damage()) > 0 {
				t.Errorf("%d snapshots, damage %v", len(o.Snapshots()), o.Damage())
			}
			wholeAfterPrune(t, w, st, ref, c)
		})
	}
}

// A machine remembers what the log was built on, not the newest entry alone.
func TestRememberedBasis(t *testing.T) {
	w, st, _ := removed(t)
	w.open(w.owner)
	head, err := filepath.Glob(filepath.Join(w.dir, string(keys.RoleOwner), "state", "*", "head"))
	if err != nil || len(head) != 1 {
		t.Fatalf("%v, %v", head, err)
	}
	data, err := os.ReadFile(head[0])
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(data))
	if got, want := strings.Join(fields[1:4], " "), "3 0 1"; got != want {
		t.Fatalf("remembered is %q, want %q", got, want)
	}
	for i, lost := range []string{"4 0 1", "3 1 1", "3 0 2"} {
		text := fields[0] + " " + lost
		if err := os.WriteFile(head[0], fmt.Appendf(nil, "%s %08x\n", text, crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli))), 0o600); err != nil {
			t.Fatal(err)
		}
		var rolled *ledger.RollbackError
		if _, err := w.tryOpen(st, w.owner); !errors.As(err, &rolled) || !strings.Contains(err.Error(), "unlike what this machine has seen") {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// Who is removed while the keys are rotated does not have those that come into use.
func TestRemovedWhileRotating(t *testing.T) {
	st := storetest.NewMem(t)
	w := newWorld(t, st, repo.InitOptions{})
	gone, err := w.owner.NewWriter("gone")
	if err != nil {
		t.Fatal(err)
	}
	if err := fresh(t, st, w.owner).AddPerson(t.Context(), gone, ledger.Person{Name: "gone", Instance: instance}, nil, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := fresh(t, before(st, "Put", number(2), func() {
		if err := fresh(t, st, w.owner).RemovePerson(t.Context(), "gone"); err != nil {
			t.Error(err)
		}
	}), w.owner).Rotate(t.Context(), nothing); err != nil {
		t.Fatal(err)
	}
	if r := fresh(t, st, w.writer); len(r.Roster()) != 2 || r.Key().CurrentEpoch().Number != 2 {
		t.Errorf("%d are on the list, the epoch is %d", len(r.Roster()), r.Key().CurrentEpoch().Number)
	}
	if _, err := openFresh(t.Context(), st, gone); err == nil {
		t.Error("who was removed meanwhile has the new keys")
	}
}

// Junk above the newest entry hides nothing from a machine that knows that: it is read all the same.
func TestJunkHidesNothing(t *testing.T) {
	for _, above := range []uint64{1, 5000} {
		w, st, _ := removed(t)
		newest := w.open(w.owner).Head().Seq
		st.Corrupt(number(newest), 300)
		st.Set(number(newest+above), []byte("junk"))
		var rolled *ledger.RollbackError
		if _, err := w.tryOpen(st, w.owner); !errors.As(err, &rolled) {
			t.Errorf("the newest entry is spoilt: %v", err)
		}
	}
}
