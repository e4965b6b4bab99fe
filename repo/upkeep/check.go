package upkeep

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"permafrost/repo"
	"permafrost/repo/inspection"
	"permafrost/repo/internal/blobs"
	"permafrost/repo/internal/core"
	"permafrost/repo/internal/headers"
	"permafrost/repo/internal/index"
	"permafrost/repo/internal/machine"
	"permafrost/repo/internal/pack"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"

	"filippo.io/age"
	"golang.org/x/sync/errgroup"
)

const checkReads = 3 // packs that a check holds at once

// CheckOptions say how deep a check goes.
type CheckOptions struct {
	Read     *Subset                 // packs whose content is read; nil: none
	MaxAge   time.Duration           // passes over packs that this machine has verified within that time; 0: over none
	MaxTime  time.Duration           // no further pack is begun after that time, but one at least; 0: all are read
	Problem  func(err error)         // hears of each damage as it is found, one at a time; may be nil
	Progress func(done, total int64) // hears how many bytes of packs were read, one call at a time; may be nil
}

// A CheckResult counts what was looked at.
type CheckResult struct {
	Snapshots int
	Indexes   int
	Lost      int // index objects that are missing or damaged
	Packs     int
	Blobs     int64 // that the snapshots need
	Unused    int   // packs that no index lists: leftovers, no damage
	Unnamed   int   // other objects that no log entry leads to: no damage either
	Junk      int   // objects under names that no object of a repository has: no damage either
	Problems  int
	ReadPacks int
	ReadBytes int64
	Due       int          // packs that were to be read, and were not because MaxTime was over
	Deep      bool         // packs were decrypted and each blob verified; else their stored bytes were hashed
	Damaged   []store.Name // packs that are missing or damaged
	Strays    []string     // the first of the unused packs, the unnamed objects and the junk
	Accepted  []error      // damage to the log that an owner has accepted: no problem, and not forgotten
}

// A Subset is a part of the packs, for a check that is spread over days: by name, by percentage or by size.
type Subset struct {
	Part, Of int     // part number Part, from 1 on, of Of parts by the packs' names; Of 0: one of the others
	Percent  float64 // percentage of the stored bytes, chosen by chance
	Bytes    int64   // stored bytes, chosen by chance, where Percent is 0
}

// choose returns the packs of the subset.
func (s *Subset) choose(packs []*index.Pack) []*index.Pack {
	if s.Of > 0 {
		return slices.DeleteFunc(slices.Clone(packs), func(p *index.Pack) bool {
			return (int(p.Name[0])<<8|int(p.Name[1]))%s.Of != s.Part-1
		})
	}
	total := int64(0)
	for _, p := range packs {
		total += p.Size
	}
	want := s.Bytes
	if s.Percent > 0 {
		want = int64(float64(total) * s.Percent / 100)
	}
	packs = slices.Clone(packs)
	rand.Shuffle(len(packs), func(i, j int) { packs[i], packs[j] = packs[j], packs[i] })
	for i, p := range packs {
		if want <= 0 {
			return packs[:i]
		}
		want -= p.Size
	}
	return packs
}

// A checker collects what one check finds.
type checker struct {
	core      *core.Core
	opts      CheckOptions
	found     []error  // what was found wrong before packs are read
	instances []string // that the log knows of

	mu         sync.Mutex
	res        CheckResult
	isReported map[store.Name]bool // those in res.Damaged
}

// problem notes damage that is found while packs are read.
func (c *checker) problem(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.res.Problems++
	if c.opts.Problem != nil {
		c.opts.Problem(err)
	}
}

// report notes a damaged pack. One that is listed for others alone is not this key's to judge: who can't open it can't tell whose it is.
func (c *checker) report(p *index.Pack) {
	if by := c.core.Log.Roster.Scope(c.core.Key.VerifyKey()); !by.Serves(p.Instance) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.isReported[p.Name] {
		c.isReported[p.Name] = true
		c.res.Damaged = append(c.res.Damaged, p.Name)
	}
}

// Check verifies the repository: the log's chain, read anew from the storage; the keyrings that the roster names; every
// index object; that every pack is there with the right size; every manifest; and that each snapshot can be put together
// again from what is in these packs, and holds what its log entry says.
//
// With CheckOptions.Read it also reads packs: every blob in them or, where the key can't read these, their stored bytes against
// the hash that names them. It changes nothing on the storage.
//
// What it finds wrong goes to CheckOptions.Problem, and is counted. An error means that the check could not go on, such as a
// ledger.RollbackError.
func Check(ctx context.Context, r *repo.Repo, inspect inspection.Maker, o CheckOptions) (*CheckResult, error) {
	c := &checker{core: r.Core(), opts: o}
	x, err := c.structure(ctx, inspect)
	if err != nil {
		return nil, err
	}
	for _, err := range c.found {
		c.problem(err)
	}
	if o.Read != nil {
		if err := c.read(ctx, x); err != nil {
			return nil, err
		}
	}
	return &c.res, nil
}

// structure looks at all but the content of packs. Where it finds something wrong and a prune or another roster was
// published meanwhile, that may be why, and it looks again.
func (c *checker) structure(ctx context.Context, inspect inspection.Maker) (*index.Index, error) {
	h, err := c.core.Log.ReadLog(ctx, c.core.Log.Keys, false)
	if err != nil {
		return nil, err
	}
	was := c.core.Log.Remember()
	if lost := h.Lacks(&was, c.core.Key.VerifyKey()); lost != nil {
		lost.Since = true
		return nil, lost
	}
	for {
		c.res, c.found, c.isReported = CheckResult{Accepted: h.Accepted}, h.Problems(), make(map[store.Name]bool)
		c.instances = h.Instances()
		x, err := c.indexes(ctx, h)
		if err == nil {
			err = headers.SortOut(ctx, c.core, h, x, x.Contested(), c.wrong, c.wrong)
		}
		if err == nil {
			err = c.packs(ctx, h, x)
		}
		if err == nil {
			err = c.keys(ctx, h)
		}
		if err == nil {
			err = c.strays(ctx, h)
		}
		if err == nil {
			err = c.snapshots(ctx, h, inspection.NewAll(c.core, x, inspect))
		}
		if err != nil || len(c.found) == len(h.Problems()) {
			return x, err
		}
		now, err := c.core.Log.ReadLog(ctx, h.Keys, false)
		if err != nil || now.Prunes == h.Prunes && now.Roster.Seq == h.Roster.Seq {
			return x, err
		}
		h = now
	}
}

// wrong notes what was found before packs are read.
func (c *checker) wrong(err error) { c.found = append(c.found, err) }

// damaged notes a DamageError and returns every other error.
func (c *checker) damaged(err error) error {
	var d *store.DamageError
	if errors.As(err, &d) {
		c.found = append(c.found, err)
		return nil
	}
	return err
}

// indexes reads every index object anew.
func (c *checker) indexes(ctx context.Context, h *ledger.History) (*index.Index, error) {
	c.res.Indexes = h.Indexes.Len()
	return c.core.Indexes.LoadAnew(ctx, h, func(err error) error {
		c.res.Indexes--
		c.res.Lost++
		return c.damaged(err)
	})
}

// packs compares the packs in the store with the index, and marks those that are not as they should be as gone.
func (c *checker) packs(ctx context.Context, h *ledger.History, x *index.Index) error {
	sizes := make([]int64, len(x.Packs)) // -1: missing
	for i := range sizes {
		sizes[i] = -1
	}
	for o, err := range c.core.Store.List(ctx, store.Pack.Dir()) {
		if err != nil {
			return fmt.Errorf("listing packs: %w", err)
		}
		kind, name := store.Parse(o.Name)
		if kind != store.Pack {
			continue // junk, which is no damage
		}
		listed := x.Listed(name)
		for _, n := range listed {
			sizes[n] = o.Size
		}
		if len(listed) == 0 {
			c.res.Unused++
			c.note(o.Name)
		}
	}
	// One of another size may be none of the instance's that it is listed for.
	var other []store.Name
	for same := range x.Groups() {
		if size := sizes[same[0]]; size >= 0 && !slices.ContainsFunc(same, func(n uint32) bool { return x.Packs[n].Size == size }) {
			other = append(other, x.Packs[same[0]].Name)
		}
	}
	if err := headers.SortOut(ctx, c.core, h, x, other, c.wrong, headers.Ignore); err != nil {
		return err
	}
	for same := range x.Groups() { // one that is listed several times counts once
		c.packSize(x, same, sizes[same[0]])
	}
	return nil
}

// packSize compares the size of a pack, -1 where it is missing, with its listings.
func (c *checker) packSize(x *index.Index, listed []uint32, size int64) {
	right := slices.ContainsFunc(listed, func(n uint32) bool { return x.Packs[n].Size == size })
	if right {
		c.res.Packs++
	}
	for _, n := range listed {
		p := &x.Packs[n]
		if p.Size == size {
			continue
		}
		p.Hidden = true
		if right {
			c.found = append(c.found, &store.DamageError{Object: store.Index.Object(x.Objects[p.Object].Name), Err: fmt.Errorf("it says that pack %s has %d bytes; it has %d", p.Name.Short(), p.Size, size)})
			continue
		}
		c.report(p)
		err := errors.New("is missing")
		if size >= 0 {
			err = fmt.Errorf("has %d bytes, the index says %d", size, p.Size)
		}
		c.found = append(c.found, &store.DamageError{Object: store.Pack.Object(p.Name), Err: err})
	}
}

// read reads packs side by side, those first whose turn is longest ago.
func (c *checker) read(ctx context.Context, x *index.Index) error {
	c.res.Deep = c.core.Key.CanRead()
	var packs []*index.Pack
	for i := range x.Packs {
		if !x.Packs[i].Hidden {
			packs = append(packs, &x.Packs[i])
		}
	}
	known, err := c.core.Machine.Verified(packNames(packs))
	if err != nil {
		c.core.Note("this check will not be remembered: %v", err)
	}
	defer known.Close()
	start := time.Now()
	packs = c.due(known, c.opts.Read.choose(packs), start)
	total := int64(0)
	for _, p := range packs {
		total += p.Size
	}
	buffers := make(chan []byte, checkReads)
	for range checkReads {
		buffers <- nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(checkReads)
	for i, p := range packs {
		if i > 0 && c.opts.MaxTime > 0 && time.Since(start) >= c.opts.MaxTime {
			c.res.Due = len(packs) - i
			break
		}
		g.Go(func() error {
			buf := <-buffers
			defer func() { buffers <- buf }()
			if int64(cap(buf)) < p.Size {
				buf = make([]byte, max(p.Size, pack.Size+pack.Size/8))
			}
			err := c.checkPack(ctx, x, p, buf[:p.Size])
			if errors.Is(err, fs.ErrNotExist) {
				err = c.vanished(ctx, x.Keys, p)
			}
			if d := (*store.DamageError)(nil); err != nil && !errors.As(err, &d) {
				return err
			}
			c.finish(p, err, known, total)
			return nil
		})
	}
	return g.Wait()
}

// packNames yields the names of packs.
func packNames(packs []*index.Pack) iter.Seq[store.Name] {
	return func(yield func(store.Name) bool) {
		for _, p := range packs {
			if !yield(p.Name) {
				return
			}
		}
	}
}

// due returns the packs that were not verified within the age that is asked for, those first whose turn is longest ago.
func (c *checker) due(known *machine.Verified, packs []*index.Pack, now time.Time) []*index.Pack {
	when := func(p *index.Pack) time.Time { return known.When(p.Name, c.res.Deep, now) }
	packs = slices.DeleteFunc(packs, func(p *index.Pack) bool {
		return c.opts.MaxAge > 0 && when(p).After(now.Add(-c.opts.MaxAge))
	})
	slices.SortStableFunc(packs, func(a, b *index.Pack) int { return when(a).Compare(when(b)) })
	return packs
}

// vanished returns why a pack is not there any more that was a moment ago: nil where a prune has taken it.
func (c *checker) vanished(ctx context.Context, keys *keys.Keyring, p *index.Pack) error {
	h, err := c.core.Log.ReadLog(ctx, keys, true)
	if err != nil || h.PrunedFor(store.Pack.Object(p.Name), p.Instance) {
		return err
	}
	return &store.DamageError{Object: store.Pack.Object(p.Name), Err: errors.New("is missing")}
}

// finish counts a pack that was read, remembers that it was found right, or notes the damage.
func (c *checker) finish(p *index.Pack, damage error, known *machine.Verified, total int64) {
	if damage != nil {
		c.problem(damage)
	}
	if damage != nil && !errors.Is(damage, blobs.ErrForeign) {
		c.report(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if damage == nil {
		known.Add(p.Name, c.res.Deep, time.Now())
	}
	c.res.ReadPacks++
	c.res.ReadBytes += p.Size
	if c.opts.Progress != nil {
		c.opts.Progress(c.res.ReadBytes, total)
	}
}

// checkPack reads a pack into buf, and verifies its hash or, where the key can read it, all that is in it.
func (c *checker) checkPack(ctx context.Context, x *index.Index, p *index.Pack, buf []byte) error {
	r, object := c.core, store.Pack.Object(p.Name)
	n := 0
	err := headers.Again(ctx, r, object, func() (err error) {
		n, err = r.Store.ReadAt(ctx, object, buf, 0)
		return err
	})
	if err == io.EOF {
		return &store.DamageError{Object: object, Err: fmt.Errorf("ends after %d bytes of %d", n, len(buf))}
	} else if err != nil {
		return fmt.Errorf("reading a pack: %w", err)
	}
	opener, err := blobs.OpenerOf(x.Keys, p.Component)
	if err != nil { // a sealed host
		if store.Name(sha256.Sum256(buf)) != p.Name {
			return &store.DamageError{Object: object, Err: errors.New("its content does not match the hash in its name")}
		}
		return nil
	}
	// The hash would tell no more: age authenticates every byte, and what is in the pack must be what the index says.
	src, size, err := age.DecryptReaderAt(bytes.NewReader(buf), p.Size, opener)
	if err != nil {
		return &store.DamageError{Object: object, Err: fmt.Errorf("decrypting: %w", err)}
	}
	if !opener.IsFor(p.Instance) {
		return blobs.FalseListing(x, p, opener.Whose(c.instances))
	}
	d, err := pack.ReadDirectory(src, size)
	if err != nil {
		return &store.DamageError{Object: object, Err: err}
	}
	if err := pack.CheckFrames(x.Keys, object, d, io.NewSectionReader(src, 0, size)); err != nil || d.Digest() == p.Digest {
		return err
	}
	return &store.DamageError{Object: object, Err: errors.New("its directory and the index differ")}
}
