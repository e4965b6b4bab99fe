package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"filippo.io/age"
	"golang.org/x/sync/errgroup"

	"permafrost/internal/hint"
	"permafrost/internal/wire"
)

// RepairOptions say how a repair is done.
type RepairOptions struct {
	DryRun   bool          // only tell what would be done
	Patience time.Duration // how long to wait for others who are at work
	Problem  func(error)   // hears of each object that can't be repaired
	Progress func(phase string, done, total int64)
}

func (o *RepairOptions) progress(phase string, done, total int64) {
	if o.Progress != nil {
		o.Progress(phase, done, total)
	}
}

// An IndexRepair says what RepairIndex did, or would do.
type IndexRepair struct {
	Dropped []Name // index objects that are missing, damaged or false: the log names them no more
	Read    int    // packs that were read, to see what is in them
	Listed  int    // of these, packs that an index object lists now
	Bad     []Name // of these, damaged ones, which RepairPacks can salvage
	Added   int    // index objects that were written
	Lacking bool   // something that snapshots need was not found, or could not be looked for
}

// An indexRepair lists again what lost index objects have listed.
//
// A pack says itself what is in it, and for which instance. But who made it, it does not say, and what the owner lists for
// an instance is relied on by that: so a pack is listed as sound only when each blob in it was verified, and listed only
// where a snapshot needs it. What a run under way has put is nobody's business.
type indexRepair struct {
	repo    *Repo
	opts    RepairOptions
	inspect Inspect

	mu    sync.Mutex
	tried map[Name]bool
	found *journal          // the packs that were read, and can be listed
	bad   map[Name]bool     // of these, damaged ones
	names map[string][]Name // of all of these, by the instance that they were written for
	res   IndexRepair
}

// RepairIndex makes the index whole: index objects that are missing or damaged, or list what was written for another
// instance, are taken off the log; and packs that hold what a snapshot needs and no index object lists are read, verified
// and listed. It takes the owner key.
//
// New index objects are durable before the entry that names them; if we die before that, they are left over.
func (r *Repo) RepairIndex(ctx context.Context, inspect Inspect, o RepairOptions) (*IndexRepair, error) {
	spool, err := r.local.spool()
	if err != nil {
		return nil, err
	}
	defer spool.close()
	x := &indexRepair{repo: r, opts: o, inspect: inspect, tried: make(map[Name]bool), found: spool, bad: make(map[Name]bool), names: make(map[string][]Name)}
	err = r.repair(ctx, "repair of the index", o, x.try)
	return &x.res, err
}

// repair calls try until it was not overtaken by others.
func (r *Repo) repair(ctx context.Context, what string, o RepairOptions, try func(context.Context) error) error {
	if !r.key.CanRead() {
		return &MissingKeyError{Need: "the owner key (-i RECOVERY-FILE): a repair reads what is stored", For: "a repair"}
	}
	lease, err := r.NewLease(ctx, what)
	if err != nil {
		return err
	}
	defer lease.Release()
	if err := lease.Wait(ctx, o.Patience); err != nil {
		return err
	}
	for range pruneTries {
		if err := r.readyToRepair(ctx, o); err != nil {
			return err
		}
		err := try(ctx)
		switch {
		case errors.Is(err, errNewcomers), err != nil && r.hasGrown(ctx):
			r.note("the log has grown meanwhile: the repair begins anew")
		case !isTableError(err): // it was noted where it was found
			return err
		}
	}
	return hint.Wrap(&LockedError{"others kept adding to the log"}, "repair at a quieter time")
}

func (x *indexRepair) try(ctx context.Context) error {
	r, head := x.repo, x.repo.log.head
	x.res = IndexRepair{Read: x.res.Read}
	known, err := r.wholeIndex(ctx)
	if err != nil {
		return err
	}
	if err := r.sortOut(ctx, r.log, known, known.names(), r.noteError, ignore); err != nil {
		return err
	}
	x.res.Dropped = append(unread(r.log, known), known.dropFalse()...)
	needs, err := x.needs(ctx, known)
	if err != nil {
		return err
	}
	x.count(needs)
	if x.opts.DryRun || len(x.res.Dropped)+len(needs) == 0 {
		return nil
	}
	if len(x.res.Bad) > 0 {
		// First: nobody is to lean on them in between.
		if head, err = r.markBadAt(ctx, head, x.res.Bad); err != nil {
			return err
		}
	}
	return x.publish(ctx, head, needs)
}

// wholeIndex returns the index as the storage has it, without the index objects that are missing or damaged.
func (r *Repo) wholeIndex(ctx context.Context) (*index, error) {
	return r.buildIndex(ctx, r.log, false, func(err error) error {
		if errors.Is(err, ErrNewerFormat) && !r.opts.AcceptHead {
			// It is not damaged: we don't understand it. Or somebody with a key has made it to stop us.
			return hint.Wrap(err, "update permafrost on this machine; where no newer one was ever used, --accept-head takes it for damage")
		}
		return nil
	})
}

// unread returns the index objects that the log names and that x lacks.
func unread(h *history, x *index) (lost []Name) {
	have := make(map[Name]bool)
	for i := range x.objects {
		have[x.objects[i].name] = true
	}
	for ref := range h.indexes.all() {
		if !have[ref.name] {
			lost = append(lost, ref.name)
		}
	}
	return lost
}

// dropFalse hides all that is listed by index objects with a false listing, and returns these. What snapshots need of it is
// to be verified.
func (x *index) dropFalse() (names []Name) {
	for i := range x.objects {
		o := &x.objects[i]
		packs := x.packs[o.first : o.first+o.packs]
		if !slices.ContainsFunc(packs, func(p indexedPack) bool { return p.foreign }) {
			continue
		}
		names = append(names, o.name)
		for n := range packs {
			packs[n].gone = true
		}
	}
	x.dropGone()
	return names
}

// count notes what is to be listed.
func (x *indexRepair) count(needs map[string][]Name) {
	for _, instance := range slices.Sorted(maps.Keys(needs)) {
		for _, n := range needs[instance] {
			x.res.Listed++
			if x.bad[n] {
				x.res.Bad = append(x.res.Bad, n)
			}
		}
	}
}

// publish writes index objects for what instances need, and publishes the entry that names them.
func (x *indexRepair) publish(ctx context.Context, head Head, needs map[string][]Name) error {
	r := x.repo
	entry := PruneEntry{Indexes: x.res.Dropped}
	for _, instance := range slices.Sorted(maps.Keys(needs)) {
		added, err := r.putIndexes(ctx, instance, x.found.packs(needs[instance]))
		entry.Added = append(entry.Added, added...)
		if err != nil {
			return err
		}
	}
	if err := r.publishAt(ctx, head, &Entry{Prune: &entry}); err != nil {
		if errors.Is(err, errNewcomers) {
			r.discard(&rewritten{indexes: entry.Added})
		}
		return err
	}
	r.index = nil
	x.res.Added = len(entry.Added)
	return nil
}

// needs returns, by instance, the packs that are to be listed for it.
func (x *indexRepair) needs(ctx context.Context, known *index) (map[string][]Name, error) {
	needs := make(map[string][]Name)
	instances := make(map[string][]SnapshotRef)
	for _, s := range x.repo.log.live() {
		instances[s.Instance] = append(instances[s.Instance], s)
	}
	for _, instance := range slices.Sorted(maps.Keys(instances)) {
		names, err := x.need(ctx, known, instance, instances[instance])
		if err != nil {
			return nil, err
		}
		if len(names) > 0 {
			needs[instance] = names
		}
	}
	return needs, nil
}

// need returns the packs that are to be listed for an instance. Each round finds what the one before could not look
// for, its listings and recipes being lost too.
func (x *indexRepair) need(ctx context.Context, known *index, instance string, snapshots []SnapshotRef) ([]Name, error) {
	with := known
	for {
		l, err := x.look(ctx, known, with.of(instance), snapshots)
		if err != nil || !l.lacks {
			return l.needed(with), err
		}
		more, err := x.read(ctx, known)
		if err != nil || !more && with != known {
			x.res.Lacking = true
			return l.needed(with), err
		}
		if with, err = x.repo.with(known, instance, x.found.packs(x.names[instance])); err != nil {
			return nil, err
		}
	}
}

// A look is what the snapshots of an instance need of packs that no index object lists for it. It is the Visitor of these.
type look struct {
	known *index // as the storage has it
	of    *index // what is known for the instance, and what was found beside that

	uses  map[uint32]bool // packs, as the index numbers them
	lacks bool            // there is something that none of these holds, or that could not be looked for
}

func (l *look) needed(x *index) (names []Name) {
	for _, n := range slices.Sorted(maps.Keys(l.uses)) {
		names = append(names, x.packs[n].name)
	}
	return names
}

// look finds every blob of some snapshots in an index: that of the storage, known, and what was found beside that.
func (x *indexRepair) look(ctx context.Context, known, of *index, snapshots []SnapshotRef) (*look, error) {
	l := &look{uses: make(map[uint32]bool), known: known, of: of}
	in := x.inspect(x.repo.readerOf(of))
	for i, s := range snapshots {
		x.opts.progress("looking", int64(i), int64(len(snapshots)))
		text, err := x.repo.Manifest(ctx, s)
		if err == nil {
			_, err = in.Inspect(ctx, text, l)
		}
		if d := (*DamageError)(nil); err != nil && (!errors.As(err, &d) || errors.Is(err, ErrNewerFormat)) {
			return l, err
		}
		l.lacks = l.lacks || err != nil // what the manifest leads to could not be looked for
	}
	return l, ctx.Err()
}

// Lost implements Visitor.
func (l *look) Lost(string, error) error {
	l.lacks = true // what lies behind it could not be looked for
	return nil
}

// Need implements Visitor: it notes where a blob lies.
func (l *look) Need(_ context.Context, n Need) error {
	var room [4]place
	places, err := l.of.find(n.Blob, room[:0])
	if err != nil {
		return err
	}
	listed := func(pl place) bool { return int(pl.pack) < len(l.known.packs) && !l.of.packs[pl.pack].bad }
	if slices.ContainsFunc(places, listed) {
		return nil
	}
	for _, pl := range places {
		if int(pl.pack) >= len(l.known.packs) {
			l.uses[pl.pack] = true
		}
	}
	l.lacks = l.lacks || len(places) == 0
	return nil
}

// read reads the packs that no index object lists. It reports whether any was read that was not before.
func (x *indexRepair) read(ctx context.Context, known *index) (more bool, err error) {
	var packs []Object
	err = x.repo.eachPack(ctx, func(name Name, o Object) {
		named := slices.ContainsFunc(x.repo.log.pruned[o.Name], func(s scope) bool { return s.owner })
		if !x.tried[name] && !named && len(known.listed(name)) == 0 {
			packs = append(packs, o)
		}
	})
	if err == nil {
		err = x.repo.readWhole(ctx, packs, x.opts.progress, x.take)
	}
	if err != nil {
		return false, err
	}
	for _, o := range packs { // those too that were gone when they were to be read
		if name, err := packName(o.Name); err == nil {
			x.tried[name] = true
		}
	}
	return len(packs) > 0, nil
}

// eachPack calls f with each pack on the storage. None at all is an error where there are snapshots: what would be made
// of a storage that gives nothing is an empty repository.
func (r *Repo) eachPack(ctx context.Context, f func(name Name, o Object)) error {
	n := 0
	for o, err := range r.store.List(ctx, "packs/") {
		if err != nil {
			return fmt.Errorf("listing packs: %w", err)
		}
		if name, err := packName(o.Name); err == nil {
			n++
			f(name, o)
		}
	}
	if n == 0 && len(r.log.live()) > 0 {
		return hint.Wrap(errors.New("there is not a single pack on the storage"), "see that the storage is what it was: an empty one can't be repaired")
	}
	return nil
}

// take notes a pack that was read.
func (x *indexRepair) take(o Object, data []byte, err error) error {
	name, nameErr := packName(o.Name)
	if nameErr != nil {
		return nameErr
	}
	var p *pack
	instance := ""
	if err == nil {
		p, instance, err = x.repo.inspect(name, data)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tried[name] = true
	x.res.Read++
	if err != nil && x.opts.Problem != nil {
		x.opts.Problem(err)
	}
	if p == nil {
		return nil
	}
	x.bad[name] = err != nil
	x.names[instance] = append(x.names[instance], name)
	return x.found.add(p)
}

// readWhole reads objects side by side and calls f with each, or with the DamageError that says why it can't be read, from
// several goroutines.
func (r *Repo) readWhole(ctx context.Context, objects []Object, progress func(phase string, done, total int64), f func(o Object, data []byte, err error) error) error {
	total := int64(0)
	for _, o := range objects {
		total += o.Size
	}
	var mu sync.Mutex
	done := int64(0)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(checkReads)
	for _, o := range objects {
		g.Go(func() error {
			var data []byte
			err := r.again(ctx, o.Name, func() (err error) {
				data, err = r.readObject(ctx, o.Name, MaxObject)
				return err
			})
			if d := (*DamageError)(nil); errors.Is(err, fs.ErrNotExist) {
				return nil // removed since it was listed
			} else if err != nil && !errors.As(err, &d) {
				return fmt.Errorf("reading a pack: %w", err)
			}
			mu.Lock()
			done += o.Size
			progress("reading", done, total)
			mu.Unlock()
			return f(o, data, err)
		})
	}
	return g.Wait()
}

// again reads an object, or a part of it, by read: once more where it fails. What fails twice while the storage still gives
// another object is a DamageError: a disk fails in places.
func (r *Repo) again(ctx context.Context, object string, read func() error) error {
	plain := func(err error) bool {
		d := (*DamageError)(nil)
		return err == nil || err == io.EOF || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.As(err, &d)
	}
	err := read()
	if plain(err) {
		return err
	}
	if err = read(); plain(err) || ctx.Err() != nil {
		return err
	}
	if _, other := readConfig(ctx, r.store); other != nil {
		return err
	}
	return &DamageError{object, fmt.Errorf("can't be read: %w", err)}
}

// inspect returns what an index lists of a pack that none lists, the instance that it was written for, and what is wrong
// with it: nil and that where it can't be listed.
func (r *Repo) inspect(name Name, data []byte) (*pack, string, error) {
	p := &pack{name: name, size: int64(len(data))}
	object := packObject(name)
	src, size, component, opener, err := r.decryptPack(data)
	if err != nil {
		return nil, "", &DamageError{object, fmt.Errorf("decrypting: %w", err)}
	}
	d, err := readDirectory(src, size)
	if err == nil && (d.component == Meta) != (component == Meta) {
		err = errors.New("it is encrypted as what it is not")
	}
	instance := opener.whose(r.log.instances())
	if err == nil && instance == "" {
		err = errors.New("it was written for no instance that the log knows of")
	}
	if err != nil {
		return nil, "", &DamageError{object, err}
	}
	header, err := age.ExtractHeader(bytes.NewReader(data))
	if err == nil {
		p.directory, p.header = *d, len(header)+ageNonce
		err = p.fits()
	}
	if err != nil {
		return nil, "", &DamageError{object, err}
	}
	if err := r.Key().checkFrames(object, d, io.NewSectionReader(src, 0, size)); err != nil {
		return p, instance, err
	}
	if hashName(data) != name {
		return p, instance, &DamageError{object, errors.New("content does not have the hash that names it")}
	}
	return p, instance, nil
}

// fits returns an error where no index object would hold the pack. Ours all fit: one that does not was made to harm.
func (p *pack) fits() error {
	data := p.append(nil)
	if len(data) > PackSize+indexTarget {
		return fmt.Errorf("its directory has %d bytes", len(data))
	}
	r := wire.NewReader(data)
	parsePack(r)
	return r.Close()
}

// decryptPack opens a pack by the keys of meta packs, or else those of data.
func (r *Repo) decryptPack(data []byte) (src io.ReaderAt, size int64, as Component, opener *packOpener, err error) {
	for _, as = range []Component{Meta, Media} {
		if opener, err = r.Key().opener(as); err != nil {
			break
		}
		if src, size, err = age.DecryptReaderAt(bytes.NewReader(data), int64(len(data)), opener); err == nil {
			break
		}
	}
	return src, size, as, opener, err
}
