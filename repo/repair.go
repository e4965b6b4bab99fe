package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"time"

	"filippo.io/age"
	"golang.org/x/sync/errgroup"

	"permafrost/internal/hint"
)

// RepairOptions say how a repair is done.
type RepairOptions struct {
	DryRun   bool          // only tell what would be done
	Patience time.Duration // how long to wait for others who are at work
	Problem  func(error)   // hears of each object that can't be repaired
	Progress func(phase string, done, total int64)
}

// An IndexRepair says what RepairIndex did, or would do.
type IndexRepair struct {
	Dropped []Name // index objects that are missing or damaged: the log names them no more
	Read    int    // packs that no index object listed
	Listed  int    // of these, packs that an index object lists now
	Bad     []Name // of these, damaged ones, which RepairPacks can salvage
	Added   int    // index objects that were written
}

// An indexRepair lists again what lost index objects have listed.
//
// A pack's own directory says what is in it. But who made it, it does not say, and what the owner lists is relied on by
// every instance that it is listed for: so a pack is listed as sound only when each blob in it was verified.
type indexRepair struct {
	repo *Repo
	opts RepairOptions

	mu    sync.Mutex
	tried map[Name]bool
	found *journal // the packs that can be listed
	names []Name   // of these
	res   IndexRepair
}

// RepairIndex makes the index whole: index objects that are missing or damaged are taken off the log, and the packs that
// no index object lists are read, verified and listed again. It takes the owner key.
//
// New index objects are durable before the entry that names them; if we die before that, they are left over.
func (r *Repo) RepairIndex(ctx context.Context, o RepairOptions) (*IndexRepair, error) {
	x := &indexRepair{repo: r, opts: o, tried: make(map[Name]bool)}
	err := r.repair(ctx, "repair of the index", o, func(ctx context.Context) error {
		x.res.Dropped, x.res.Added = nil, 0
		return x.try(ctx)
	})
	if x.found != nil {
		x.found.close()
	}
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
		if err = r.catchUp(ctx, r.log); err == nil {
			err = try(ctx)
		}
		if !errors.Is(err, errNewcomers) && (err == nil || !r.hasGrown(ctx)) && !isTableError(err) {
			return err
		}
		r.note("the log has grown meanwhile: the repair begins anew")
	}
	return hint.Wrap(&LockedError{"others kept adding to the log"}, "repair at a quieter time")
}

func (x *indexRepair) try(ctx context.Context) error {
	r, head := x.repo, x.repo.log.head
	known, err := r.buildIndex(ctx, r.log, false, func(error) error { return nil })
	if err != nil {
		return err
	}
	lost := unread(r.log, known)
	if err := x.read(ctx, known); err != nil {
		return err
	}
	for _, ref := range lost {
		x.res.Dropped = append(x.res.Dropped, ref.name)
	}
	if x.opts.DryRun || len(lost)+len(x.names) == 0 {
		return nil
	}
	if len(x.res.Bad) > 0 {
		// First: nobody is to lean on them in between.
		if err := r.MarkBad(ctx, x.res.Bad); err != nil {
			return err
		}
		head = r.log.head
	}
	entry := PruneEntry{Indexes: x.res.Dropped}
	for _, instance := range servedBy(lost, r.log) {
		names, err := r.putIndexes(ctx, instance, x.found.packs(x.names))
		entry.Added = append(entry.Added, names...)
		if err != nil {
			return err
		}
	}
	if err := r.publishAt(ctx, head, &Entry{Prune: &entry}); err != nil {
		if errors.Is(err, errNewcomers) {
			r.discard(nil, entry.Added)
		}
		return err
	}
	r.index = nil
	x.res.Added = len(entry.Added)
	return nil
}

// unread returns the index objects that the log names and that x lacks.
func unread(h *history, x *index) (lost []indexRef) {
	have := make(map[Name]bool)
	for i := range x.objects {
		have[x.objects[i].name] = true
	}
	for _, ref := range h.indexes {
		if !have[ref.name] {
			lost = append(lost, ref)
		}
	}
	return lost
}

// servedBy returns the instances that lost index objects may have served. Where that is not known it is all: what is
// listed for one that does not need it goes with the next prune.
func servedBy(lost []indexRef, h *history) (instances []string) {
	add := func(instance string) {
		if instance != "" && !slices.Contains(instances, instance) {
			instances = append(instances, instance)
		}
	}
	for _, ref := range lost {
		add(ref.instance)
	}
	if len(lost) == 0 || slices.ContainsFunc(lost, func(ref indexRef) bool { return ref.instance == "" }) {
		for _, s := range h.live() {
			add(s.Instance)
		}
	}
	return instances
}

// read reads the packs that no index object lists, and that no prune of the owner's has named.
func (x *indexRepair) read(ctx context.Context, known *index) error {
	var unlisted []Object
	packs := 0
	for o, err := range x.repo.store.List(ctx, "packs/") {
		if err != nil {
			return fmt.Errorf("listing packs: %w", err)
		}
		packs++
		name, err := packName(o.Name)
		if err != nil || x.tried[name] || len(known.listed(name)) > 0 {
			continue
		}
		if !slices.ContainsFunc(x.repo.log.pruned[o.Name], func(s scope) bool { return s.owner }) {
			unlisted = append(unlisted, o)
		}
	}
	if packs == 0 && len(x.repo.log.live()) > 0 {
		return hint.Wrap(errors.New("there is not a single pack on the storage"), "see that the storage is what it was: an empty one can't be repaired")
	}
	if x.found == nil {
		j, err := x.repo.local.spool()
		if err != nil {
			return err
		}
		x.found = j
	}
	return x.repo.readWhole(ctx, unlisted, x.opts.Progress, x.take)
}

// take notes a pack that was read.
func (x *indexRepair) take(o Object, data []byte) error {
	name, err := packName(o.Name)
	if err != nil {
		return err
	}
	p, damage := x.repo.inspect(name, data)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tried[name] = true
	x.res.Read++
	if damage != nil && x.opts.Problem != nil {
		x.opts.Problem(damage)
	}
	if p == nil {
		return nil
	}
	if damage != nil {
		x.res.Bad = append(x.res.Bad, name)
	}
	x.res.Listed++
	x.names = append(x.names, name)
	return x.found.add(p)
}

// readWhole reads objects side by side and calls f with each, from several goroutines. One that is no more is passed over.
func (r *Repo) readWhole(ctx context.Context, objects []Object, progress func(phase string, done, total int64), f func(o Object, data []byte) error) error {
	total := int64(0)
	for _, o := range objects {
		total += o.Size
	}
	var mu sync.Mutex
	done := int64(0)
	read := func(n int64) {
		mu.Lock()
		defer mu.Unlock()
		if done += n; progress != nil {
			progress("reading", done, total)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(checkReads)
	for _, o := range objects {
		g.Go(func() error {
			data, err := r.readObject(ctx, o.Name, MaxObject)
			if d := (*DamageError)(nil); errors.Is(err, fs.ErrNotExist) {
				return nil
			} else if errors.As(err, &d) {
				data = nil // too long to be a pack
			} else if err != nil {
				return fmt.Errorf("reading a pack: %w", err)
			}
			read(o.Size)
			return f(o, data)
		})
	}
	return g.Wait()
}

// inspect returns what an index lists of a pack that none lists, and what is wrong with it. A pack whose directory can't
// be read is nil.
func (r *Repo) inspect(name Name, data []byte) (*pack, error) {
	p := &pack{name: name, size: int64(len(data))}
	object := packObject(name)
	src, size, component, err := r.decryptPack(data)
	if err != nil {
		return nil, &DamageError{object, fmt.Errorf("decrypting: %w", err)}
	}
	d, err := readDirectory(src, size)
	if err == nil && (d.component == Meta) != (component == Meta) {
		err = errors.New("it is encrypted as what it is not")
	}
	if err != nil {
		return nil, &DamageError{object, err}
	}
	p.directory = *d
	header, err := age.ExtractHeader(bytes.NewReader(data))
	if err != nil {
		return nil, &DamageError{object, err}
	}
	if p.header = len(header) + ageNonce; plainSize(p.size, p.header) != size {
		return nil, &DamageError{object, errors.New("its length does not fit its header")}
	}
	if err := r.checkFrames(object, d, io.NewSectionReader(src, 0, size)); err != nil {
		return p, err
	}
	if hashName(data) != name {
		return p, &DamageError{object, errors.New("content does not have the hash that names it")}
	}
	return p, nil
}

// decryptPack opens a pack by the keys of meta packs, or else those of data.
func (r *Repo) decryptPack(data []byte) (src io.ReaderAt, size int64, as Component, err error) {
	for _, as = range []Component{Meta, Media} {
		var ids []age.Identity
		if ids, err = r.identities(as); err != nil {
			return nil, 0, as, err
		}
		if src, size, err = age.DecryptReaderAt(bytes.NewReader(data), int64(len(data)), ids...); err == nil {
			return src, size, as, nil
		}
	}
	return nil, 0, as, err
}
