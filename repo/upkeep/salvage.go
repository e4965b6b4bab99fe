package upkeep

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
	"permafrost/repo"
	"permafrost/repo/cause"
	"permafrost/repo/internal/blobs"
	"permafrost/repo/internal/core"
	"permafrost/repo/internal/headers"
	"permafrost/repo/internal/index"
	"permafrost/repo/internal/pack"
	"permafrost/repo/store"
)

// A PackRepair says what RepairPacks did, or would do.
type PackRepair struct {
	Packs    []store.Name // that are damaged or missing, and that no index lists any more
	Salvaged int          // blobs of these that verified, and are in new packs
	Lost     int          // blobs of these of which no other pack has a copy
	Moved    int64        // stored bytes written
}

// RepairPacks moves what verifies in damaged packs to new ones, and takes the damaged ones off the index, as those that
// are missing. What is lost is then listed nowhere, so that the next snapshot stores it again where the source still has
// it. Damaged are packs of another size than the index says, and those that a check has found so (see [ReportDamaged]). A
// prune deletes them. It takes the owner key.
func RepairPacks(ctx context.Context, r *repo.Repo, o RepairOptions) (*PackRepair, error) {
	c := r.Core()
	var res *PackRepair
	err := repair(ctx, c, "repair of packs", o, func(ctx context.Context) (err error) {
		res, err = tryRepairPacks(ctx, c, o)
		return err
	})
	return res, err
}

// tryRepairPacks goes through a repair once. It makes a plan of its own, and rewrites and publishes as a prune does: tryPrune says
// what is left where we die. It deletes nothing: what can still be read of a damaged pack is there until the next prune.
func tryRepairPacks(ctx context.Context, c *core.Core, o RepairOptions) (*PackRepair, error) {
	v, err := takeInventory(ctx, c)
	if err != nil {
		return nil, err
	}
	p := planSalvage(v)
	if p.more {
		c.Note("there are more damaged packs than one repair can handle: run it again")
	}
	s := &salvage{core: c, index: v.index, damaged: p.goes, problem: o.Problem, blobs: make(map[servedBlob]bool), unread: make(map[store.Name]bool)}
	switch {
	case len(p.damaged) == 0:
		return new(PackRepair), nil
	case o.DryRun:
		err := s.look(ctx, p.touched)
		return s.result(p, 0), err
	}
	w, err := rewrite(ctx, c, v.index, &p.prunePlan, s.move, o.progress)
	if err != nil {
		return nil, err
	}
	p.spare(s.unread)
	return s.result(p, w.size), publishPlan(ctx, c, &p.prunePlan, w)
}

// takeInventory compares what index objects list with the sizes of the packs on the storage.
func takeInventory(ctx context.Context, c *core.Core) (*inventory, error) {
	x, err := c.Indexes.LoadAnew(ctx, c.Log.History, func(err error) error { return err })
	if err != nil {
		return nil, cause.Errorf(cause.IndexNeeded, "this needs the whole index: %w", err)
	}
	if err := headers.SortOut(ctx, c, c.Log.History, x, x.Contested(), headers.NoteError(c), headers.Ignore); err != nil {
		return nil, err
	}
	v := newInventory(c, x)
	return &v, eachPack(ctx, c, func(name store.Name, obj store.Object) {
		for _, n := range x.Listed(name) {
			v.sizes[n] = obj.Size
		}
	})
}

// A salvagePlan rewrites damaged packs, of which all is kept that verifies.
type salvagePlan struct {
	prunePlan
	damaged []store.Name
	stuck   map[store.Name]bool // packs that can be taken off the index by their name alone
	more    bool                // there are more than one entry may name
}

// planSalvage decides which packs go: all listings of one, since what is named is gone for every instance. One that is
// missing is not named, if it can be taken off the index otherwise: it may come back, and be listed again.
func planSalvage(v *inventory) *salvagePlan {
	p := &salvagePlan{prunePlan: prunePlan{head: v.head}, stuck: v.irreplaceable()}
	for _, n := range v.index.Listings() {
		ip := &v.index.Packs[n]
		if v.sizes[n] == ip.Size && !ip.Reported || len(p.damaged) > 0 && p.damaged[len(p.damaged)-1] == ip.Name {
			continue
		}
		if len(p.damaged) == maxPruned {
			p.more = true
			break
		}
		p.damaged = append(p.damaged, ip.Name)
		p.rewrite = append(p.rewrite, v.index.Listed(ip.Name)...)
		if v.sizes[n] > 0 || p.stuck[ip.Name] {
			p.entry.Packs = append(p.entry.Packs, ip.Name)
		}
	}
	p.follow(v)
	p.replace(v)
	return p
}

// irreplaceable returns the packs that index objects list which can't be replaced.
func (v *inventory) irreplaceable() map[store.Name]bool {
	m := make(map[store.Name]bool)
	for i, o := range v.index.Objects {
		if o.Live && !v.replaceable(uint32(i)) {
			for _, p := range v.index.Packs[o.First : o.First+o.Packs] {
				m[p.Name] = true
			}
		}
	}
	return m
}

// spare takes packs off the entry of which nothing could be read, as far as they are taken off the index otherwise.
func (p *salvagePlan) spare(unread map[store.Name]bool) {
	p.entry.Packs = slices.DeleteFunc(p.entry.Packs, func(n store.Name) bool { return unread[n] && !p.stuck[n] })
}

// A salvage collects what verifies in damaged packs, and what is lost of them.
type salvage struct {
	core    *core.Core
	index   *index.Index
	damaged index.Bitset
	problem func(error)
	blobs   map[servedBlob]bool // of these packs: whether it was saved
	unread  map[store.Name]bool // packs of which nothing can be had, now
}

// A servedBlob is a blob as an instance has it.
type servedBlob struct {
	instance string
	id       core.HalfID
}

// result says what was saved of the damaged packs, in new packs of so many bytes.
func (s *salvage) result(p *salvagePlan, moved int64) *PackRepair {
	res := &PackRepair{Packs: p.damaged, Moved: moved}
	for _, saved := range s.blobs {
		if saved {
			res.Salvaged++
		} else {
			res.Lost++
		}
	}
	return res
}

// look counts what there is to salvage of packs that these index objects list.
func (s *salvage) look(ctx context.Context, objects []uint32) error {
	for _, o := range objects {
		for l, err := range s.core.Indexes.Packs(ctx, s.index, int(o)) {
			if err == nil && s.damaged.Has(int(l.N)) {
				err = s.eachBlob(ctx, l, func(pack.Blob, []byte) error { return nil })
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// move adds what verifies in a pack to g.
func (s *salvage) move(ctx context.Context, g *pack.Pipeline, l index.NumberedPack) error {
	return s.eachBlob(ctx, l, func(b pack.Blob, data []byte) error { return g.Add(ctx, l.Component, b, data) })
}

// eachBlob calls f with every blob of a pack that verifies, and counts the others.
func (s *salvage) eachBlob(ctx context.Context, l index.NumberedPack, f func(b pack.Blob, data []byte) error) error {
	instance := s.index.Packs[l.N].Instance
	src, damage, err := openDamaged(ctx, s.core, l.Pack, instance)
	if err != nil {
		return err
	}
	if src == nil {
		s.unread[l.Name] = true
		src = bytes.NewReader(nil)
	}
	lost := 0
	off := int64(len(pack.Magic))
	for _, fr := range l.Frames {
		plain := frameBlobs(src, fr, off)
		off += int64(fr.Stored)
		for _, b := range fr.Blobs {
			data := plain(b.Length)
			if sum, ok := pack.BlobID(s.index.Keys, l.Epoch, l.Component, data); data == nil || !ok || sum != b.ID {
				lost++
				if err := s.lost(instance, b.ID); err != nil {
					return err
				}
				continue
			}
			s.blobs[servedBlob{instance, core.Half(b.ID)}] = true
			if err := f(b, data); err != nil {
				return err
			}
		}
	}
	if damage == nil && lost > 0 {
		damage = errors.New("content is not what it was")
	}
	if damage != nil && s.problem != nil {
		s.problem(&store.DamageError{Object: store.Pack.Object(l.Name), Err: fmt.Errorf("%w; %d of its blobs can't be read", damage, lost)})
	}
	return nil
}

// lost notes a blob that can't be salvaged here, unless a pack that stays has a copy.
func (s *salvage) lost(instance string, id chunk.ID) error {
	var room [4]index.Place
	places, err := s.index.For(instance).Find(id, room[:0])
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(places, func(pl index.Place) bool { return !s.damaged.Has(int(pl.Pack)) }) {
		if b := (servedBlob{instance, core.Half(id)}); !s.blobs[b] {
			s.blobs[b] = false
		}
	}
	return nil
}

// frameBlobs returns a function that returns a frame's blobs, one after the other by their lengths; nil for one that
// can't be read. Of a raw frame each stands by itself.
func frameBlobs(src io.ReaderAt, f pack.Frame, off int64) func(length int) []byte {
	if f.Codec == pack.Raw {
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
	stored := make([]byte, f.Stored)
	n, _ := src.ReadAt(stored, off)
	plain, err := pack.DecodeFrame(nil, stored[:n], f.Codec, f.Length())
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
func openDamaged(ctx context.Context, c *core.Core, p *pack.Pack, instance string) (plain io.ReaderAt, damage, err error) {
	data, damage, err := readTorn(ctx, c, store.Pack.Object(p.Name), p.Size)
	if data == nil || err != nil {
		return nil, damage, err
	}
	opener, err := blobs.OpenerOf(c.Log.Keys, p.Component)
	if err != nil {
		return nil, nil, err
	}
	src, err := age.Decrypt(bytes.NewReader(data), opener)
	if err == nil && !opener.IsFor(instance) {
		err = blobs.ErrForeign
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
func readTorn(ctx context.Context, c *core.Core, object string, size int64) (data []byte, damage, err error) {
	const step = 256 << 10
	data = make([]byte, size)
	had := int64(0)
	for off := int64(0); off < size; off += step {
		part, n := data[off:min(off+step, size)], 0
		err := headers.Again(ctx, c, object, func() (err error) {
			n, err = c.Store.ReadAt(ctx, object, part, off)
			return err
		})
		var bad *store.DamageError
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
	if o, err := c.Store.Stat(ctx, object); damage == nil && err == nil && o.Size != size {
		damage = fmt.Errorf("has %d bytes, the index says %d", o.Size, size) // what was added is not ours
	}
	return data, damage, nil
}
