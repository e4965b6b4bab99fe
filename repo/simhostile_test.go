package repo_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/cause"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// A simSecret is what a machine has put, and to whom that is closed.
type simSecret struct {
	data   []byte // where the storage shows others something else, they may find something else under its name
	closed map[string]bool
}

// A simMachine is one of those that keep to the rules, with what it remembers; or, hostile, one that remembers nothing.
type simMachine struct {
	name     string
	instance string
	key      func() *keys.Keyring
	ids      []age.Identity
	at       *simBranch // what the storage shows it
	hostile  bool
	newDir   func() string // makes a directory; nil: it remembers nothing
	caches   bool
	dir      string

	seen    map[store.Name]ledger.SnapshotRef // snapshots that were listed here
	people  map[string]bool                   // names on the list of keys here; false: not any more
	closed  map[string]bool                   // who was removed and can't read what it writes
	secrets map[string]simSecret              // what it has written, by name
	moves   bool                              // it prunes or repairs
}

// wrote notes an object that it has put. What is moved from one pack into another stays under the keys that it was under.
func (m *simMachine) wrote(name string, data []byte) {
	if len(m.closed) > 0 && !(m.moves && strings.HasPrefix(name, "packs/")) {
		m.secrets[name] = simSecret{data, m.closed}
	}
}

func (m *simMachine) options() (o repo.Options) {
	o.Identities = m.ids
	if m.newDir == nil {
		return o
	}
	if m.dir == "" {
		m.dir = m.newDir()
	}
	o.StateDir = m.dir
	if m.caches {
		o.CacheDir = m.dir + "/cache"
	}
	return o
}

// A weaker is a weaker way than the one that there is.
type weaker struct {
	uploads bool // others may write to uploads under way
	forgets bool // machines remember nothing
	takesUp bool // an owner announces the keys that a rotation left which died
}

// A hostileHistory is what parties do to a repository and to each other, as a seed decides, and what came of it.
type hostileHistory struct {
	*hostilePast
	weaker  weaker
	storage *simStorage
	main    *simBranch
	forked  *simBranch // nil: the storage shows the same to all
	sched   *storetest.Sched
	plans   *rand.Rand // what machines do
	fate    *rand.Rand // what hostile parties do, and when

	host, second, other, admin *simMachine
	evil, left                 *villain // a writer of another instance, and one who was removed; nil: there is none
	outsider                   bool     // somebody may put
	mode                       string   // what the storage does: "", "spoils", "loses", "forks"
	acts, wait                 int      // acts that are to come, and operations until the next
	busy                       bool
	steps                      []*hostileStep
	begun                      int

	mu        sync.Mutex
	ownerKey  *keys.Keyring // as it is on disk
	epoch     uint32        // that an owner has announced, for certain
	acked     []ledger.SnapshotRef
	made      map[string]bool     // the hosts of snapshots that machines have begun
	forgotten map[store.Name]bool // false: perhaps
	onList    map[string]string   // names: "on" the list of keys, "off" it, or "perhaps"
	closedTo  map[string]bool     // who lacks the keys in use; it is replaced and never changed
	pruned    bool                // somebody may have pruned who speaks for more than one instance, or the first
	said      map[string]bool     // what somebody on the list has said that others wait for

	found map[string][]*keys.Keyring // what who was removed has, and finds below keys/
}

// A hostileStep is what a machine does from opening the repository on.
type hostileStep struct {
	m     *simMachine
	what  string
	party *storetest.Party
}

// run makes the history of a seed and returns what is wrong with it.
func (p *hostilePast) run(t *testing.T, seed uint64, weak weaker) (h *hostileHistory, err error) {
	time.Sleep(time.Until(p.end))
	h = &hostileHistory{hostilePast: p, weaker: weak, ownerKey: p.owner, epoch: p.epoch,
		plans: rand.New(rand.NewPCG(seed, 2)), fate: rand.New(rand.NewPCG(seed, 3)),
		made: make(map[string]bool), forgotten: make(map[store.Name]bool), onList: maps.Clone(p.onList), closedTo: p.closedTo, said: make(map[string]bool)}
	h.sched = storetest.NewSched(p.mem, seed, ledger.Grace+time.Hour)
	h.storage, h.main = newSimStorage(h.sched, p.objects)
	for _, ref := range slices.Concat(p.kept, p.gone) {
		h.made[ref.Host] = true
	}
	for _, ref := range p.gone {
		h.forgotten[ref.ID] = true
	}
	h.machines(t)
	h.enlist()
	h.plan()
	h.sched.Run()
	h.storage.after, h.storage.upload = nil, nil
	for _, step := range h.steps {
		if err := h.expected(step); err != nil {
			return h, err
		}
	}
	return h, h.judge(t.Context())
}

// machines makes those that keep to the rules. Most have seen the past.
func (h *hostileHistory) machines(t *testing.T) {
	machine := func(name, instance, key string) *simMachine {
		m := &simMachine{name: name, instance: instance, key: func() *keys.Keyring { return h.keys[key] }, ids: h.identities(key), at: h.main, caches: h.plans.IntN(4) == 0,
			seen: make(map[store.Name]ledger.SnapshotRef), people: make(map[string]bool), secrets: make(map[string]simSecret)}
		knows := h.plans.IntN(4) > 0
		m.newDir = func() string { return h.newDir(t, knows) }
		if knows {
			for _, ref := range h.kept {
				m.seen[ref.ID] = ref
			}
			for name, is := range h.hostilePast.onList {
				m.people[name] = is == "on"
			}
		}
		if h.weaker.forgets {
			m.newDir = nil
		}
		return m
	}
	h.host, h.second = machine("host", instance, "web1"), machine("second", instance, "web9")
	h.other, h.admin = machine("other", simOther, "web2"), machine("admin", "", "")
	h.admin.key = func() *keys.Keyring { return h.ownerKey }
}

// newDir makes a directory for what a machine remembers, and writes what one knows that has seen the past.
func (h *hostileHistory) newDir(t *testing.T, knows bool) string {
	dir, err := os.MkdirTemp("", "sim")
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err == nil && knows {
		file := filepath.Join(dir, h.headFile)
		err = errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, h.head, 0o600))
	}
	if err != nil {
		panic(err)
	}
	return dir
}

// hostilePlans are what machines do, one thing behind the other.
var hostilePlans = map[string][]string{
	"host":   {"snapshot", "snapshot snapshot", "snapshot prune", "forget snapshot prune", "snapshot check", "check snapshot snapshot"},
	"second": {"", "", "snapshot", "snapshot snapshot"},
	"other":  {"", "snapshot", "snapshot prune", "prune"},
	"admin": {"", "", "prune", "prune", "prune prune", "check", "repair-index repair-packs", "repair-packs prune", "add prune", "rotate", "remove-evil prune", "remove-evil",
		"remove-gone", "remove-gone prune", "remove-gone rotate", "remove-evil rotate prune", "rotate remove-gone rotate", "rotate remove-evil rotate"},
}

// plan lets the machines loose.
func (h *hostileHistory) plan() {
	for _, m := range []*simMachine{h.host, h.second, h.other, h.admin} {
		plans := hostilePlans[m.name]
		var before *storetest.Party
		for _, what := range strings.Fields(plans[h.plans.IntN(len(plans))]) {
			if name, removes := strings.CutPrefix(what, "remove-"); removes && h.onList[name] != "on" {
				continue
			}
			h.pruned = h.pruned || m != h.other && (what == "prune" || strings.HasPrefix(what, "repair"))
			step, first, contents := &hostileStep{m: m, what: what}, before, h.contents(m)
			step.party = h.sched.GoOn(m.name+": "+what, simView{h.storage, m}, func(ctx context.Context, st store.Store) error {
				if first != nil {
					<-first.Ended()
				}
				r, err := h.open(ctx, m, storetest.Alone(st), m.options())
				if err != nil {
					return err
				}
				err = h.do(ctx, m, what, contents, r)
				if why := (*cause.Error)(nil); !errors.As(err, &why) || why.Cause != cause.Unannounced || h.mode == "loses" || h.mode == "forks" {
					return err
				}
				o := m.options() // the owner knows that it died
				o.AcceptHead = true
				if r, err = h.open(ctx, m, storetest.Alone(st), o); err == nil {
					err = h.do(ctx, m, what, contents, r)
				}
				return err
			})
			before = step.party
			h.steps = append(h.steps, step)
		}
	}
}

// open opens the repository on a machine, which looks at what it sees.
func (h *hostileHistory) open(ctx context.Context, m *simMachine, st store.Store, o repo.Options) (*repo.Repo, error) {
	h.mu.Lock()
	epoch, closed := h.epoch, h.closedTo
	h.mu.Unlock()
	r, err := openRepo(ctx, st, m.key(), o)
	if err != nil {
		return nil, err
	}
	if d := r.Damage(); len(d) > 0 && h.mode == "" && !h.waits("broken") && !h.waits("newer") {
		return r, violated("%s is told: %w", m.name, d[0])
	}
	// A storage that shows the log as it was may keep a machine from the keys that are in use, as long as it has not seen them.
	if m.closed = closed; (h.mode == "loses" || h.mode == "forks") && (m == h.admin || r.Key().CurrentEpoch().Number < epoch) {
		m.closed = nil
	}
	return r, h.look(m, r)
}

// waits reports whether somebody on the list of keys has said what others wait for.
func (h *hostileHistory) waits(what string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.said[what]
}

// contents chooses what a snapshot of a machine holds: a host's name that no other one has.
func (h *hostileHistory) contents(m *simMachine) string {
	kinds := []string{"s1", "s2", "s3", "next"}
	if m == h.other {
		kinds = []string{"other's s1", "other's next"}
	}
	h.begun++
	return fmt.Sprintf("%s#%d", kinds[h.plans.IntN(len(kinds))], h.begun)
}

// do does one thing on a machine.
func (h *hostileHistory) do(ctx context.Context, m *simMachine, what, contents string, r *repo.Repo) error {
	m.moves = what == "prune" || strings.HasPrefix(what, "repair")
	switch what {
	case "snapshot":
		return h.snapshot(ctx, m, contents, r)
	case "prune":
		_, err := upkeep.Prune(ctx, r, mark, upkeep.PruneOptions{})
		return err
	case "forget":
		return h.forget(ctx, m, r)
	case "check":
		return h.check(ctx, r)
	case "repair-index":
		return repairIndex(ctx, r)
	case "repair-packs":
		return repairPacks(ctx, r)
	case "rotate":
		return h.rotate(ctx, m, r)
	case "add":
		return h.change("late", "on", func() error {
			return r.AddPerson(ctx, h.keys["late"], h.person("late", instance), nil, h.ids["late"].Recipient().String())
		})
	}
	name := strings.TrimPrefix(what, "remove-")
	return h.change(name, "off", func() error { return r.RemovePerson(ctx, name) })
}

// change notes what becomes of a name on the list of keys.
func (h *hostileHistory) change(name, to string, f func() error) error {
	set := func(to string) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.onList[name] = to
	}
	set("perhaps")
	err := f()
	if err == nil {
		set(to)
	}
	return err
}

func (h *hostileHistory) snapshot(ctx context.Context, m *simMachine, contents string, r *repo.Repo) error {
	h.mu.Lock()
	h.made[contents] = true
	h.mu.Unlock()
	ref, err := simSnapshot(ctx, r, contents)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acked = append(h.acked, ref)
	m.seen[ref.ID] = ref
	return nil
}

// forget takes the newest snapshot of the machine's instance off the list.
func (h *hostileHistory) forget(ctx context.Context, m *simMachine, r *repo.Repo) error {
	all := slices.DeleteFunc(r.Snapshots(), func(ref ledger.SnapshotRef) bool { return ref.Instance != m.instance })
	if len(all) == 0 {
		return nil
	}
	id := all[len(all)-1].ID
	h.mu.Lock()
	if _, again := h.forgotten[id]; !again {
		h.forgotten[id] = false
	}
	h.mu.Unlock()
	err := upkeep.Forget(ctx, r, []store.Name{id})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forgotten[id] = h.forgotten[id] || err == nil
	return err
}

// rotate changes the keys. Who is off the list by then lacks them.
func (h *hostileHistory) rotate(ctx context.Context, m *simMachine, r *repo.Repo) error {
	h.mu.Lock()
	closed := make(map[string]bool)
	for name, is := range h.onList {
		if is == "off" {
			closed[name] = true
		}
	}
	h.mu.Unlock()
	var grown *keys.Keyring
	save := func(k *keys.Keyring) error {
		grown = k
		h.mu.Lock()
		defer h.mu.Unlock()
		h.ownerKey = k
		return nil
	}
	rotate := r.Rotate
	if h.weaker.takesUp {
		rotate = r.RotateTakingUp
	}
	_, err := rotate(ctx, save)
	if err == nil {
		// An owner who is shown the log of before a removal gives the keys to who is on that list.
		for _, p := range r.Roster() {
			if h.mode == "loses" || h.mode == "forks" {
				delete(closed, p.Name)
			}
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.epoch, h.closedTo, m.closed = grown.CurrentEpoch().Number, closed, closed
	}
	return err
}
