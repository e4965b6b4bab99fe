package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"filippo.io/age"

	"permafrost/chunk"
	"permafrost/internal/hint"
)

// A PackRepair says what RepairPacks did, or would do.
type PackRepair struct {
	Packs    []Name // that are damaged or missing, and that no index lists any more
	Salvaged int    // blobs of these that verified, and are in new packs
	Lost     int    // blobs of these of which no other pack has a copy
	Moved    int64  // stored bytes written
}

// RepairPacks moves what verifies in damaged packs to new ones, and takes the damaged ones off the index, as those that
// are missing. What is lost is then listed nowhere, so that the next snapshot stores it again where the source still has
// it. Damaged are packs of another size than the index says, and those that a check has found so (see MarkBad). A
// prune deletes them. It takes the owner key.
//
// As in a prune, new packs and index objects are durable before the entry that names what goes.
func (r *Repo) RepairPacks(ctx context.Context, o RepairOptions) (*PackRepair, error) {
	var res PackRepair
	err := r.repair(ctx, "repair of packs", o, func(ctx context.Context) error {
		res = PackRepair{}
		s, err := r.planSalvage(ctx, o)
		if err != nil || len(s.out) == 0 {
			return err
		}
		res.Packs = s.out
		if o.DryRun {
			err = s.look(ctx)
		} else {
			err = s.replace(ctx, s.salvagePack)
		}
		res.Moved = s.prunePlan.res.Moved
		for _, saved := range s.blobs {
			if saved {
				res.Salvaged++
			} else {
				res.Lost++
			}
		}
		return err
	})
	return &res, err
}

// A salvage is a prune of damaged packs alone, of which all is kept that verifies.
type salvage struct {
	*prunePlan
	damaged bitset        // the packs that go
	out     []Name        // their names
	stuck   map[Name]bool // packs that can be taken off the index by their name alone
	problem func(error)
	blobs   map[servedBlob]bool // of these packs: whether it was saved
}

// A servedBlob is a blob as an instance has it.
type servedBlob struct {
	instance string
	id       halfID
}

// planSalvage chooses the packs that go.
func (r *Repo) planSalvage(ctx context.Context, o RepairOptions) (*salvage, error) {
	x, err := r.buildIndex(ctx, r.log, false, func(err error) error { return err })
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("this needs the whole index: %w", err), "run `permafrost repair index` first")
	}
	if err := r.sortOut(ctx, r.log, x, x.contested(), r.noteError, ignore); err != nil {
		return nil, err
	}
	p := &prunePlan{repo: r, opts: PruneOptions{Progress: o.Progress}, head: r.log.head, index: x, sizes: make([]int64, len(x.packs))}
	if err := r.eachPack(ctx, func(name Name, obj Object) {
		for _, n := range x.listed(name) {
			p.sizes[n] = obj.Size
		}
	}); err != nil {
		return nil, err
	}
	s := &salvage{prunePlan: p, problem: o.Problem, blobs: make(map[servedBlob]bool)}
	s.chooseDamaged()
	s.damaged = p.goes()
	return s, nil
}

// chooseDamaged chooses the packs that go: all listings of one, since what is named is gone for every instance. One that is
// missing is not named, if it can be taken off the index otherwise: it may come back, and be listed again.
func (s *salvage) chooseDamaged() {
	s.stuck = s.irreplaceable()
	for _, n := range s.index.byName { // sorted by name
		ip := &s.index.packs[n]
		if s.sizes[n] == ip.size && !ip.bad || len(s.out) > 0 && s.out[len(s.out)-1] == ip.name {
			continue
		}
		if len(s.out) == maxPruned {
			s.repo.note("there are more damaged packs than one repair takes: run it again")
			return
		}
		s.out = append(s.out, ip.name)
		s.rewrite = append(s.rewrite, s.index.listed(ip.name)...)
		if s.sizes[n] > 0 || s.stuck[ip.name] {
			s.entry.Packs = append(s.entry.Packs, ip.name)
		}
	}
}

// irreplaceable returns the packs that index objects list which can't be replaced.
func (s *salvage) irreplaceable() map[Name]bool {
	m := make(map[Name]bool)
	for i, o := range s.index.objects {
		if o.live && !s.replaceable(uint32(i)) {
			for _, p := range s.index.packs[o.first : o.first+o.packs] {
				m[p.name] = true
			}
		}
	}
	return m
}

// look counts what there is to salvage.
func (s *salvage) look(ctx context.Context) error {
	for _, o := range s.touched() {
		for l, err := range s.repo.listings(ctx, s.index, int(o)) {
			if err == nil && s.damaged.has(int(l.n)) {
				err = s.eachBlob(ctx, l, func(blobRef, []byte) error { return nil })
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// salvagePack adds what verifies in a pack to g.
func (s *salvage) salvagePack(ctx context.Context, g *packing, l packListing) error {
	return s.eachBlob(ctx, l, func(b blobRef, data []byte) error { return g.add(ctx, l.component, b, data) })
}

// eachBlob calls f with every blob of a pack that verifies, and counts the others.
func (s *salvage) eachBlob(ctx context.Context, l packListing, f func(b blobRef, data []byte) error) error {
	instance := s.index.packs[l.n].instance
	src, damage, err := s.repo.openDamaged(ctx, l.pack, instance)
	if err != nil {
		return err
	}
	if src == nil { // nothing of it can be had, now
		s.entry.Packs = slices.DeleteFunc(s.entry.Packs, func(n Name) bool { return n == l.name && !s.stuck[n] })
		src = bytes.NewReader(nil)
	}
	lost := 0
	off := int64(len(packMagic))
	for _, fr := range l.frames {
		plain := frameBlobs(src, fr, off)
		off += int64(fr.stored)
		for _, b := range fr.blobs {
			data := plain(b.length)
			if sum, ok := s.index.keys.sum(l.epoch, l.component, data); data == nil || !ok || sum != b.id {
				lost++
				if err := s.lost(instance, b.id); err != nil {
					return err
				}
				continue
			}
			s.blobs[servedBlob{instance, half(b.id)}] = true
			if err := f(b, data); err != nil {
				return err
			}
		}
	}
	if damage == nil && lost > 0 {
		damage = errors.New("content is not what it was")
	}
	if damage != nil && s.problem != nil {
		s.problem(&DamageError{packObject(l.name), fmt.Errorf("%w; %d of its blobs can't be read", damage, lost)})
	}
	return nil
}

// lost notes a blob that can't be salvaged here, unless a pack that stays has a copy.
func (s *salvage) lost(instance string, id chunk.ID) error {
	var room [4]place
	places, err := s.index.of(instance).find(id, room[:0])
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(places, func(pl place) bool { return !s.damaged.has(int(pl.pack)) }) {
		if b := (servedBlob{instance, half(id)}); !s.blobs[b] {
			s.blobs[b] = false
		}
	}
	return nil
}

// frameBlobs returns a function that returns a frame's blobs, one after the other by their lengths; nil for one that
// can't be read. Of a raw frame each stands by itself.
func frameBlobs(src io.ReaderAt, f frame, off int64) func(length int) []byte {
	if f.codec == codecRaw {
		return func(length int) []byte {
			data := make([]byte, length)
			n, _ := src.ReadAt(data, off)
			off += int64(length)
			if n < length {
				return nil
			}
			return data
		}
	}
	stored := make([]byte, f.stored)
	n, _ := src.ReadAt(stored, off)
	plain, err := decodeFrame(nil, stored[:n], f.codec, f.length())
	return func(length int) []byte {
		if err != nil {
			return nil
		}
		data := plain[:length:length]
		plain = plain[length:]
		return data
	}
}

// openDamaged returns as much of a pack's plaintext as decrypts, nil where nothing can be read, and what is wrong with the
// rest. age proves each 64 KiB by itself; but where the end is not what it was, only what lies before the first damage can
// be had. Of a pack that was not written for the instance nothing can: what is salvaged goes into packs that are.
func (r *Repo) openDamaged(ctx context.Context, p *pack, instance string) (plain io.ReaderAt, damage, err error) {
	data, damage, err := r.readTorn(ctx, packObject(p.name), p.size)
	if data == nil || err != nil {
		return nil, damage, err
	}
	opener, err := r.Key().opener(p.component)
	if err != nil {
		return nil, nil, err
	}
	src, err := age.Decrypt(bytes.NewReader(data), opener)
	if err == nil && !opener.isFor(instance) {
		err = errForeign
	}
	if err != nil {
		return bytes.NewReader(nil), fmt.Errorf("decrypting: %w", err), nil
	}
	if whole, _, err := age.DecryptReaderAt(bytes.NewReader(data), int64(len(data)), opener); err == nil {
		return whole, damage, nil
	}
	begin, err := io.ReadAll(src)
	if damage == nil {
		damage = err
	}
	return bytes.NewReader(begin), damage, nil
}

// readTorn reads as much of an object's first size bytes as can be read, with zeros for what can't, and tells what is
// wrong. It returns nil where nothing of it can be had.
func (r *Repo) readTorn(ctx context.Context, object string, size int64) (data []byte, damage, err error) {
	const step = 256 << 10
	data = make([]byte, size)
	had := int64(0)
	for off := int64(0); off < size; off += step {
		part, n := data[off:min(off+step, size)], 0
		err := r.again(ctx, object, func() (err error) {
			n, err = r.store.ReadAt(ctx, object, part, off)
			return err
		})
		var bad *DamageError
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, err, nil
		case err == io.EOF && off+int64(n) < size:
			return data[:off+int64(n)], fmt.Errorf("has %d bytes, the index says %d", off+int64(n), size), nil
		case errors.As(err, &bad):
			clear(part)
			damage = bad.Err
		case err != nil && err != io.EOF:
			return nil, nil, fmt.Errorf("reading a pack: %w", err)
		default:
			had += int64(n)
		}
	}
	if damage != nil && had == 0 {
		return nil, damage, nil
	}
	if o, err := r.store.Stat(ctx, object); damage == nil && err == nil && o.Size != size {
		damage = fmt.Errorf("has %d bytes, the index says %d", o.Size, size) // what was added is not ours
	}
	return data, damage, nil
}
