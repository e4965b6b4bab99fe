package repo_test

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"permafrost/chunk"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

const evilInstance = "evil.example"

// A villain holds a writer's key, and signs whatever he can.
type villain struct {
	h        *hostileHistory
	name     string
	instance string
	m        *simMachine
	last     *repo.Repo // as he last could open it
	early    *repo.Repo // as it was before he left numbers of the log free
}

// enlist decides who is hostile, and how often.
func (h *hostileHistory) enlist() {
	is := func(of int) bool { return h.fate.IntN(of) == 0 }
	mine := func(name, instance string) *villain {
		m := &simMachine{name: name, key: func() *keys.Keyring { return h.keys[name] }, at: h.main, hostile: true}
		return &villain{h: h, name: name, instance: instance, m: m}
	}
	if is(2) {
		h.evil = mine("evil", evilInstance)
	}
	if is(2) {
		h.left = mine("gone", instance)
	}
	h.outsider = is(2)
	h.mode = []string{"", "", "", "spoils", "loses", "forks"}[h.fate.IntN(6)]
	h.storage.hashes = is(2)
	h.storage.after = h.react
	if h.weaker.uploads {
		h.storage.upload = h.intrude
	}
	h.acts, h.wait = 1+h.fate.IntN(6), h.fate.IntN(60)
}

// react lets somebody hostile act behind an operation of a machine, now and then: rather where something was put that others
// can see before anything leads to it.
func (h *hostileHistory) react(_ *simMachine, kind, object string) {
	if h.busy || h.acts == 0 {
		return
	}
	h.wait--
	tempting := kind == "Put" && !strings.HasPrefix(object, "leases/")
	if h.wait > 0 && !(tempting && h.fate.IntN(6) == 0) {
		return
	}
	h.wait = h.fate.IntN(60)
	h.acts--
	h.act()
}

// act lets one of those who are hostile do something.
func (h *hostileHistory) act() {
	h.busy = true
	defer func() { h.busy = false }()
	var who []func()
	for _, v := range []*villain{h.evil, h.left} {
		if v != nil && (v == h.evil || h.is(v.name) == "off") {
			who = append(who, v.act)
		}
	}
	if h.outsider {
		who = append(who, h.plants)
	}
	switch h.mode {
	case "spoils":
		who = append(who, h.spoils, h.spoils)
	case "loses":
		who = append(who, h.loses, h.loses)
	case "forks":
		who = append(who, h.forks, h.forks)
	}
	if len(who) > 0 {
		who[h.fate.IntN(len(who))]()
	}
}

// is returns whether a name is on the list of keys.
func (h *hostileHistory) is(name string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.onList[name]
}

// says notes what everybody waits for while its signer is on the list of keys.
func (v *villain) says(what string) {
	v.h.mu.Lock()
	defer v.h.mu.Unlock()
	if v.h.onList[v.name] != "off" {
		v.h.said[what] = true
	}
}

// open returns the repository as he can have it: as it is or, where he lacks the keys in use, as it was.
func (v *villain) open() *repo.Repo {
	v.m.at = v.h.branch()
	r, err := openRepo(context.Background(), storetest.Alone(simView{v.h.storage, v.m}), v.m.key(), repo.Options{AcceptHead: true, Identities: v.h.identities(v.name)})
	if err == nil {
		v.last = r
	}
	return v.last
}

// branch chooses one of those that there are.
func (h *hostileHistory) branch() *simBranch {
	if h.forked != nil && h.fate.IntN(2) == 0 {
		return h.forked
	}
	return h.main
}

// A villainy is what a villain can sign, and what others wait for by that while he is on the list of keys.
type villainy struct {
	what  string
	waits string
	do    func(ctx context.Context, v *villain, r *repo.Repo) error
}

func (v *villain) act() {
	all := villainies
	v.do(all[v.h.fate.IntN(len(all))])
}

func (v *villain) do(a villainy) {
	r := v.open()
	if r == nil {
		return
	}
	v.signs(a, r)
}

func (v *villain) signs(a villainy, r *repo.Repo) {
	if a.waits != "" {
		v.says(a.waits)
	}
	err := a.do(context.Background(), v, r)
	v.h.sched.Tell(fmt.Sprintf("%s %s: %v", v.name, a.what, errKind(err)))
}

// errKind says of an error whether there was one: its text has names in it that no seed decides.
func errKind(err error) string {
	if err != nil {
		return "refused"
	}
	return "done"
}

// snapshot is the entry of a snapshot of his.
func (v *villain) snapshot(manifest store.Name, indexes ...store.Name) *ledger.Entry {
	return &ledger.Entry{Snapshot: &ledger.SnapshotEntry{Manifest: manifest, Indexes: indexes,
		SnapshotInfo: ledger.SnapshotInfo{Instance: v.instance, Host: "forged", Date: "2026-06-02"}}}
}

// pick chooses an object below a directory, rather a new one, and returns its name in the log.
func (v *villain) pick(dir string) store.Name { return nameOf(v.h.pick(v.m.at, dir)) }

func nameOf(object string) store.Name {
	n, err := store.ParseName(strings.TrimSuffix(object[strings.LastIndexByte(object, '/')+1:], ".age"))
	if err != nil {
		return store.Name{6, 6, 6}
	}
	return n
}

// pick chooses an object below a directory, rather a new one: "" where there is none.
func (h *hostileHistory) pick(b *simBranch, dir string) string {
	all := h.storage.list(b, dir)
	switch {
	case len(all) == 0:
		return ""
	case h.fate.IntN(2) == 0:
		return all[len(all)-1]
	}
	return all[h.fate.IntN(len(all))]
}

// elsewhere is a process that nobody can know to be dead.
var elsewhere = []byte(`{"host":"elsewhere","pid":1}`)

// listing publishes a snapshot of his that names index objects.
func (v *villain) listing(ctx context.Context, r *repo.Repo, indexes []store.Name, err error) error {
	if err != nil {
		return err
	}
	e := v.snapshot(store.Name{}, indexes...).Snapshot
	return r.PublishSnapshot(ctx, []byte(`{"blobs":{}}`), e)
}

// as chooses the instance that he says his index objects are for.
func (v *villain) as() string { return []string{v.instance, instance, simOther}[v.h.fate.IntN(3)] }

// a blob that others hold, and what he says its bytes are.
func (v *villain) guess(r *repo.Repo) chunk.ID {
	all := simContents["next"][repo.Postgres]
	return r.DataSum(all[v.h.fate.IntN(len(all))])
}

var villainies = []villainy{
	{"claims another's manifest", "objects", func(ctx context.Context, v *villain, r *repo.Repo) error {
		return r.PublishRaw(ctx, v.snapshot(v.pick("manifests/")))
	}},
	{"claims another's index object", "objects", func(ctx context.Context, v *villain, r *repo.Repo) error {
		return v.listing(ctx, r, []store.Name{v.pick("index/")}, nil)
	}},
	{"prunes what he sees", "objects", func(ctx context.Context, v *villain, r *repo.Repo) error {
		return r.PublishRaw(ctx, &ledger.Entry{Prune: &ledger.PruneEntry{Packs: []store.Name{v.pick("packs/")}, Indexes: []store.Name{v.pick("index/")},
			Manifests: []store.Name{v.pick("manifests/")}}})
	}},
	{"prunes all that there is", "objects", func(ctx context.Context, v *villain, r *repo.Repo) error {
		e := new(ledger.PruneEntry)
		for dir, names := range map[string]*[]store.Name{"packs/": &e.Packs, "index/": &e.Indexes, "manifests/": &e.Manifests} {
			for _, object := range v.h.storage.list(v.m.at, dir) {
				*names = append(*names, nameOf(object))
			}
		}
		return r.PublishRaw(ctx, &ledger.Entry{Prune: e})
	}},
	{"forgets", "objects", func(ctx context.Context, v *villain, r *repo.Repo) error {
		e := new(ledger.ForgetEntry)
		for _, ref := range r.Snapshots() {
			if v.h.fate.IntN(2) == 0 {
				e.Snapshots = append(e.Snapshots, ref.ID)
			}
		}
		return r.PublishRaw(ctx, &ledger.Entry{Forget: e})
	}},
	{"calls a pack bad", "", func(ctx context.Context, v *villain, r *repo.Repo) error {
		return r.PublishRaw(ctx, &ledger.Entry{Damage: &ledger.DamageEntry{Packs: []store.Name{v.pick("packs/"), v.pick("packs/")}}})
	}},
	{"changes the list of keys", "", func(ctx context.Context, v *villain, r *repo.Repo) error {
		people := r.Roster()
		if v.h.fate.IntN(2) == 0 {
			people = slices.DeleteFunc(people, func(p ledger.Person) bool { return p.Name != v.name })
		}
		return r.PublishRaw(ctx, &ledger.Entry{Roster: &ledger.RosterEntry{People: append(people, ledger.Person{Name: "friend", Role: keys.RoleOwner, VerifyKey: make([]byte, 32)})}})
	}},
	{"announces an epoch", "", func(ctx context.Context, v *villain, r *repo.Repo) error {
		return r.PublishRaw(ctx, &ledger.Entry{Epoch: &ledger.EpochEntry{Number: v.h.epoch + 1, Signature: make([]byte, 64)}})
	}},
	{"accepts damage", "broken", func(ctx context.Context, v *villain, r *repo.Repo) error { return v.accepts(ctx, r) }},
	{"uses the log's numbers up", "", func(ctx context.Context, v *villain, r *repo.Repo) error {
		far := []uint64{r.Head().Seq + 102, 4999, 9_999_999, 9_999_999_999}
		return r.PublishAt(ctx, v.snapshot(store.Name{}), far[v.h.fate.IntN(len(far))])
	}},
	{"leaves numbers free", "objects", // where somebody puts something there, it is an entry
		func(ctx context.Context, v *villain, r *repo.Repo) error {
			v.early = r
			return r.PublishAt(ctx, v.snapshot(store.Name{1}), r.Head().Seq+2+uint64(v.h.fate.IntN(98)))
		}},
	{"signs what he has prepared", "", func(ctx context.Context, v *villain, _ *repo.Repo) error { return v.prepared(ctx) }},
	{"is of a newer version", "newer", func(ctx context.Context, _ *villain, r *repo.Repo) error { return r.PutNewerEntry(ctx) }},
	{"signs nothing", "newer", func(ctx context.Context, _ *villain, r *repo.Repo) error { return r.PublishRaw(ctx, &ledger.Entry{}) }},
	{"builds on what is not so", "", func(ctx context.Context, v *villain, r *repo.Repo) error {
		r.Believe(func(b *ledger.Basis) {
			b.Roster, b.Snapshots = b.Roster+uint64(v.h.fate.IntN(2)), b.Snapshots+1+uint64(v.h.fate.IntN(2))*(1<<60)
		})
		return r.PublishRaw(ctx, v.snapshot(store.Name{2}))
	}},
	{"misses an entry", "broken", func(ctx context.Context, v *villain, r *repo.Repo) error {
		return r.PublishAfter(ctx, v.snapshot(store.Name{3}), ledger.Head{Seq: r.Head().Seq, Hash: store.Name{byte(v.h.fate.IntN(256))}})
	}},
	{"is at work", "", func(ctx context.Context, _ *villain, r *repo.Repo) error { return r.PutLease(ctx, elsewhere) }},
	{"lists others' packs", "objects", func(ctx context.Context, v *villain, r *repo.Repo) error {
		more := v.h.fate.IntN(2)
		indexes, err := r.PutLies(ctx, v.as(), repo.AsItIs, func(n int) int { return n + more })
		return v.listing(ctx, r, indexes, err)
	}},
	{"lists what others hold in their packs", "objects", func(ctx context.Context, v *villain, r *repo.Repo) error {
		indexes, err := r.PutClaims(ctx, v.as(), func(int) chunk.ID { return v.guess(r) })
		return v.listing(ctx, r, indexes, err)
	}},
	{"names an index object of a newer version", "objects", func(ctx context.Context, v *villain, r *repo.Repo) error {
		n, err := r.PutNewerIndex(ctx)
		return v.listing(ctx, r, []store.Name{n}, err)
	}},
	{"names what is not there", "objects", func(ctx context.Context, v *villain, r *repo.Repo) error {
		return r.PublishRaw(ctx, v.snapshot(store.Name{4}, store.Name{5}))
	}},
	{"puts a pack of what others hold", "", func(ctx context.Context, v *villain, r *repo.Repo) error {
		_, err := r.PutPack(ctx, v.as(), [][]byte{[]byte("junk")}, func(int) chunk.ID { return v.guess(r) }, 0)
		return err
	}},
	{"stores what others hold", "", func(ctx context.Context, v *villain, r *repo.Repo) error {
		if v.h.is(v.name) != "on" {
			return nil // who knows no better reads on, where he lacks the keys
		}
		_, err := simSnapshotOf(ctx, r, evilInstance, "next")
		return err
	}},
	{"signs a long entry", "", func(ctx context.Context, v *villain, r *repo.Repo) error {
		if v.h.fate.IntN(6) > 0 {
			return nil
		}
		return r.PublishRaw(ctx, &ledger.Entry{Damage: &ledger.DamageEntry{Packs: make([]store.Name, 20_000)}})
	}},
}

// accepts signs behind the newest entry that each place where the log may be broken is accepted.
func (v *villain) accepts(ctx context.Context, r *repo.Repo) error {
	heads, err := v.h.heads(v.m.at)
	accept := new(ledger.AcceptEntry)
	for _, after := range heads {
		for _, at := range heads {
			accept.Breaks = append(accept.Breaks, ledger.Break{After: after, At: at})
		}
	}
	if err != nil || len(heads) == 0 {
		return err
	}
	return r.PublishAfter(ctx, &ledger.Entry{Accept: accept}, heads[len(heads)-1])
}

// prepared signs what goes on from the log as it was, under a number that was free then.
func (v *villain) prepared(ctx context.Context) error {
	if v.early == nil {
		return nil
	}
	return v.early.PublishRaw(ctx, v.snapshot(store.Name{7}))
}

// simSnapshotOf makes a snapshot of an instance that holds what a host holds.
func simSnapshotOf(ctx context.Context, r *repo.Repo, of, host string) (ledger.SnapshotRef, error) {
	w, err := r.NewWriter(ctx, of)
	if err != nil {
		return ledger.SnapshotRef{}, err
	}
	defer w.Abort()
	text, err := simHeld(host).add(ctx, w)
	if err != nil {
		return ledger.SnapshotRef{}, err
	}
	return w.Commit(ctx, text, ledger.SnapshotInfo{Instance: of, Host: host})
}
