package repo

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"permafrost/internal/hint"
	"permafrost/internal/objname"
)

const (
	// DefaultMaxUnused is the share of a pack that may be dead before it is rewritten.
	DefaultMaxUnused = 0.05

	// maxPruned is how many packs one entry names, so that it stays far below what a log entry may have. The rest waits
	// for the next prune.
	maxPruned = 100_000

	// DefaultGrace is how old, by the storage's clock, what no log entry names must be before it is taken for left
	// over. It need not be longer than the longest run: one whose packs are pruned notices, and fails. It is a part of the
	// protocol: what is younger a run takes for its own, whatever the prune of another instance's writer has named.
	DefaultGrace = 72 * time.Hour

	pruneTries    = 8
	removesAtOnce = 16
)

// PruneOptions say what a prune may do.
type PruneOptions struct {
	MaxUnused float64       // share of a pack, 0 to 1, that may be dead before it is rewritten
	Grace     time.Duration // age at which what no log entry names is left over; 0, and for a writer at least: DefaultGrace
	DryRun    bool          // only tell what would be done
	Forgotten []Name        // with DryRun: tell what would be done once these snapshots are forgotten too
	Patience  time.Duration // how long to wait for others who are at work
	Progress  func(phase string, done, total int64)

	// AcceptLost passes over blobs that no index object lists: snapshots lack them, and are pruned about all the same. What
	// is listed and not there is no loss that anybody has accepted.
	AcceptLost bool

	// Records are what the entry says of the times of the snapshots below it.
	Records []Record

	lean bool // write nothing but the entry, and a short one
	most int  // packs that are rewritten at once; 0: any number
}

// packs returns how many packs one entry may name.
func (o *PruneOptions) packs() int {
	if o.lean {
		return leanPacks
	}
	return maxPruned
}

// A PruneResult says what a prune did, or would do.
type PruneResult struct {
	Live       int64 // bytes of blobs that snapshots need
	Dead       int64 // bytes of blobs in known packs that none needs
	Removed    int   // packs deleted, rewritten and left-over ones included
	Freed      int64 // stored bytes that went
	Rewritten  int   // packs of which the live part was moved
	Moved      int64 // stored bytes written for them
	Waiting    int   // packs that should be rewritten and that this key can't read
	WaitingFor int64 // dead bytes in them
	Manifests  int   // of forgotten snapshots, deleted
	LeftOver   int   // objects that no log entry named
	Lost       int   // blobs that snapshots lack
}

// Prune deletes what no snapshot needs. mark is called anew for each try.
//
// It decides by the log as it stands; publishes, as the very next entry, what goes; and only then deletes. A snapshot
// below that entry was marked, and one above it has read it. If we die before the entry, new packs are left over that
// nobody names. If we die behind it, the next prune deletes the rest: the entry says what.
//
// Where the storage is full it makes room first, and leaves the reserve as it should be. If we die before that is put back
// the next prune puts it.
func (r *Repo) Prune(ctx context.Context, mark func(*Reader) Mark, o PruneOptions) (*PruneResult, error) {
	if o.Grace == 0 || r.key.Role != RoleOwner {
		o.Grace = max(o.Grace, DefaultGrace)
	}
	if o.DryRun {
		return r.prune(ctx, r.clock, mark, o)
	}
	var lease *Lease
	m := &room{repo: r, grace: o.Grace}
	err := m.within(ctx, func() (err error) {
		lease, err = r.NewLease(ctx, "prune")
		return err
	})
	if err != nil {
		return nil, err
	}
	defer lease.Release()
	if err := lease.Wait(ctx, o.Patience); err != nil {
		return nil, err
	}
	res, err := r.prune(ctx, lease.now, mark, o)
	if errors.Is(err, ErrNoSpace) {
		res, err = r.pruneFull(ctx, m, lease, mark, o)
	}
	if err != nil {
		return nil, err
	}
	if err := r.putReserve(ctx); err != nil {
		r.note("%v", err)
	}
	return res, nil
}

// clock returns the storage's time, or where nothing can be put there one that it has passed.
func (r *Repo) clock(ctx context.Context) (time.Time, error) {
	lease, err := r.NewLease(ctx, "look at what a prune would do")
	if errors.Is(err, ErrNoSpace) || errors.Is(err, fs.ErrPermission) {
		return r.lastSeen(ctx)
	}
	if err != nil {
		return time.Time{}, err
	}
	defer lease.Release()
	return lease.now(ctx)
}

// prune tries until it was not overtaken by others. now tells the storage's time.
func (r *Repo) prune(ctx context.Context, now func(context.Context) (time.Time, error), mark func(*Reader) Mark, o PruneOptions) (*PruneResult, error) {
	for range pruneTries {
		res, err := r.tryPrune(ctx, now, mark, o)
		switch {
		case errors.Is(err, errNewcomers), err != nil && !errors.Is(err, ErrNoSpace) && r.hasGrown(ctx):
			r.note("the log has grown meanwhile: prune begins anew")
		case !isTableError(err): // it was noted where it was found
			return res, err
		}
	}
	return nil, hint.Wrap(&LockedError{"others kept adding to the log"}, "run prune at a quieter time")
}

// hasGrown reports whether somebody has published since the log was read. What looks like damage may then be what another
// prune has deleted.
func (r *Repo) hasGrown(ctx context.Context) bool {
	before := r.log.head
	return r.catchUp(ctx, r.log) == nil && r.log.head != before
}

var errNewcomers = errors.New("the log has grown")

func (r *Repo) tryPrune(ctx context.Context, now func(context.Context) (time.Time, error), mark func(*Reader) Mark, o PruneOptions) (*PruneResult, error) {
	if err := r.catchUp(ctx, r.log); err != nil {
		return nil, err
	}
	if damage := r.log.damage(); len(damage) > 0 {
		return nil, hint.Wrap(fmt.Errorf("the log is damaged, nothing is pruned: %w", damage[0]), "run `permafrost check`")
	}
	if o.DryRun {
		p, err := r.supposing(o.Forgotten).planPrune(ctx, now, mark, o)
		if err != nil {
			return nil, err
		}
		return &p.res, nil
	}
	p, err := r.planPrune(ctx, now, mark, o)
	if err != nil {
		return nil, err
	}
	if !p.empty() {
		if err := p.publish(ctx); err != nil {
			return nil, err
		}
	}
	return &p.res, p.sweep(ctx)
}

// supposing returns the repository as it would be if the next log entry forgot some snapshots. It is for planning alone.
func (r *Repo) supposing(forgotten []Name) *Repo {
	h := *r.log
	h.forgotten = maps.Clone(h.forgotten)
	for _, id := range forgotten {
		h.forgotten[id] = h.next
	}
	return &Repo{store: r.store, key: r.key, opts: r.opts, local: r.local, log: &h}
}

// A prunePlan is what one try decided, on the log as it stood at head.
type prunePlan struct {
	repo  *Repo
	opts  PruneOptions
	head  Head
	index *index
	packs *packReader
	mine  func(*indexedPack) bool // packs that this key may prune

	openers map[Name]*packOpener // of packs that were asked whose they are; nil for one that can't be opened

	live  bitset  // by the places' ranks
	keeps []int64 // live bytes of each pack
	sizes []int64 // of each pack as it is in the store, 0 where it is missing
	young bitset  // packs that a run of another instance may have put, and be about to list

	dead     []uint32 // packs that go
	rewrite  []uint32 // packs that go once their live part is moved
	entry    PruneEntry
	leftover []Object // in no log entry; the entry will name them
	doomed   []Object // named by an earlier prune entry, or temporary
	res      PruneResult
}

func (r *Repo) planPrune(ctx context.Context, clock func(context.Context) (time.Time, error), mark func(*Reader) Mark, o PruneOptions) (*prunePlan, error) {
	now, err := clock(ctx)
	if err != nil {
		return nil, err
	}
	p, err := r.survey(ctx, now, o)
	if err != nil {
		return nil, err
	}
	if err := p.mark(ctx, mark); err != nil {
		return nil, err
	}
	if err := p.askYoung(ctx); err != nil {
		return nil, err
	}
	p.choose()
	return p, nil
}

// survey looks at all that there is, at that time by the storage's clock, and decides nothing yet.
func (r *Repo) survey(ctx context.Context, now time.Time, o PruneOptions) (*prunePlan, error) {
	x, err := r.buildIndex(ctx, r.log, true, func(err error) error { return err })
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("prune needs the whole index: %w", err), "run `permafrost check`, then `permafrost repair index` with the owner key")
	}
	p := &prunePlan{repo: r, opts: o, head: r.log.head, index: x, packs: &packReader{repo: r, index: x, rooms: newPackRooms(r.store)},
		openers: make(map[Name]*packOpener), live: newBitset(x.ranks), keeps: make([]int64, len(x.packs)), sizes: make([]int64, len(x.packs)), young: newBitset(len(x.packs))}
	if p.mine, err = r.mayPrune(); err != nil {
		return nil, err
	}
	if err := r.sortOut(ctx, r.log, x, x.contested(), r.noteError, ignore); err != nil {
		return nil, err
	}
	return p, p.list(ctx, now)
}

// mayPrune returns which packs this key may prune: the owner key all, a writer's those of its own instance where its
// roster entry lets it forget.
func (r *Repo) mayPrune() (func(*indexedPack) bool, error) {
	if r.key.Role == RoleOwner {
		return func(*indexedPack) bool { return true }, nil
	}
	by := r.log.scope(r.key.verifyKey())
	if !by.person.MayForget {
		return nil, hint.Wrap(fmt.Errorf("%w: the list of keys does not let this writer prune", ErrNotAllowed), "prune with the owner key: -i RECOVERY-FILE")
	}
	return func(ip *indexedPack) bool { return by.serves(ip.instance) }, nil
}

// list looks at every object in the store that a prune may touch. What this machine has copies of must be there too.
func (p *prunePlan) list(ctx context.Context, now time.Time) error {
	named := p.repo.log.named()
	needed := p.repo.log.needed()
	missing := maps.Clone(needed)
	for _, dir := range []string{"packs/", "index/", "manifests/", "tmp/"} {
		for o, err := range p.repo.store.List(ctx, dir) {
			if err != nil {
				return fmt.Errorf("listing %s: %w", dir, err)
			}
			delete(missing, o.Name)
			if dir != "tmp/" && !objname.Shaped(o.Name) {
				p.addJunk(o)
				continue
			}
			old := now.Sub(o.Time) > p.opts.Grace
			known := false
			for _, n := range p.packsOf(o.Name) {
				p.sizes[n] = o.Size
				known = true
				if now.Sub(o.Time) <= DefaultGrace {
					p.young.set(int(n))
				}
			}
			switch {
			case known, needed[o.Name]: // whatever somebody else's prune has named
			case p.sentenced(o.Name), dir == "tmp/" && old:
				p.doomed = append(p.doomed, o)
			case dir != "tmp/" && !named[o.Name] && old && !p.repo.log.signed:
				// Where somebody's signed entry was passed over, what it names is left alone: it may be a snapshot.
				p.leftover = append(p.leftover, o)
			}
		}
	}
	if err := p.listJunk(ctx); err != nil {
		return err
	}
	for object := range missing {
		help := "`permafrost repair index` with the owner key makes the index anew"
		if strings.HasPrefix(object, "manifests/") {
			help = "without its manifest a snapshot is lost: `permafrost check` names it, and it can be forgotten"
		}
		return hint.Wrap(fmt.Errorf("nothing is pruned: %w", &DamageError{object, errors.New("is missing")}), help)
	}
	return nil
}

// sentenced reports whether an object that nothing needs can be deleted by what the log says already: the owner has named it,
// which every run heeds, or this key itself. What others have named is left over like what nobody has: a run of another
// instance may take no notice of that, and be about to publish what it has uploaded.
func (p *prunePlan) sentenced(object string) bool {
	me := p.repo.key.verifyKey()
	return slices.ContainsFunc(p.repo.log.pruned[object], func(by scope) bool { return by.owner || me.Equal(ed25519.PublicKey(by.person.VerifyKey)) })
}

// packsOf returns the listings of a pack, by its object's name, that are not gone.
func (p *prunePlan) packsOf(object string) []uint32 {
	name, err := packName(object)
	if err != nil {
		return nil
	}
	return p.index.listed(name)
}

func (p *prunePlan) empty() bool {
	return len(p.entry.Packs)+len(p.entry.Indexes)+len(p.entry.Manifests) == 0
}

func (p *prunePlan) progress(phase string, done, total int64) {
	if p.opts.Progress != nil {
		p.opts.Progress(phase, done, total)
	}
}

// publish moves what lives in packs that go, and publishes the entry.
func (p *prunePlan) publish(ctx context.Context) error {
	if err := p.readDuplicates(ctx); err != nil {
		return err
	}
	if err := p.replace(ctx, p.movePack); err != nil {
		return err
	}
	for _, n := range slices.Concat(p.dead, p.rewrite) {
		p.doomed = append(p.doomed, Object{Name: packObject(p.index.packs[n].name)})
	}
	for _, n := range p.entry.Indexes {
		p.doomed = append(p.doomed, Object{Name: indexObject(n)})
	}
	for _, n := range p.entry.Manifests {
		p.doomed = append(p.doomed, Object{Name: manifestObject(n)})
	}
	return nil
}

// replace moves what move takes of the packs that are rewritten, writes the index that then holds, and publishes the entry.
func (p *prunePlan) replace(ctx context.Context, move mover) error {
	moved, err := p.move(ctx, move)
	if err == nil && !p.opts.lean { // else what is listed of packs that are gone is passed over, as where it can't be replaced
		err = p.reindex(ctx, moved)
	}
	if err != nil {
		p.repo.discard(moved, p.entry.Added)
		return err
	}
	if !p.opts.lean {
		p.entry.Records = p.repo.recordable(p.opts.Records)
	}
	err = p.repo.publishAt(ctx, p.head, &Entry{Prune: &p.entry})
	if errors.Is(err, errNewcomers) || errors.Is(err, ErrNoSpace) {
		p.repo.discard(moved, p.entry.Added)
	}
	if err != nil {
		// After any other error the entry may stand all the same: what it leans on stays, and is left over if not.
		return err
	}
	p.repo.index = nil
	return nil
}

// discard removes what an attempt wrote for an entry that was surely not published: nobody but us knows of it. What it
// can't remove is left over.
func (r *Repo) discard(moved map[home][]*pack, indexes []Name) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, h := range slices.SortedFunc(maps.Keys(moved), home.compare) {
		for _, np := range moved[h] {
			_ = r.store.Remove(ctx, packObject(np.name))
		}
	}
	for _, n := range indexes {
		_ = r.store.Remove(ctx, indexObject(n))
	}
}

// sweep deletes what prune entries name.
func (p *prunePlan) sweep(ctx context.Context) error {
	log := p.repo.log
	if len(log.far) > 0 {
		if err := p.repo.catchUp(ctx, log); err != nil {
			return err
		}
	}
	var names []string
	for _, o := range p.doomed {
		// What the log has come near to meanwhile has to stay: entries may stand above it.
		if _, far := log.far[o.Name]; !far || log.isFar(o.Name) {
			names = append(names, o.Name)
		}
	}
	return p.repo.removeAll(ctx, names, func(done int) { p.progress("deleting", int64(done), int64(len(names))) })
}
