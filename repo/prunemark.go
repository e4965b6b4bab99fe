package repo

import (
	"context"
	"fmt"

	"permafrost/chunk"
	"permafrost/internal/hint"
)

// mark finds a place for every blob that a snapshot needs. Where the key can't read a pack's content every copy is kept:
// a duplicate may go only when the one that stays was read.
func (p *prunePlan) mark(ctx context.Context, mark func(*Reader) Mark) error {
	marks := make(map[string]Mark)
	snapshots := p.repo.log.live()
	for i, s := range snapshots {
		p.progress("marking", int64(i), int64(len(snapshots)))
		of := p.index.of(s.Instance)
		if marks[s.Instance] == nil {
			marks[s.Instance] = mark(p.repo.readerOf(of))
		}
		text, err := p.repo.Manifest(ctx, s)
		if err != nil {
			return err
		}
		for id, err := range marks[s.Instance](ctx, text) {
			if err == nil {
				err = p.markBlob(ctx, of, id)
			}
			if err != nil {
				help := "run `permafrost check`; what is lost for good is passed over with --accept-lost, once `permafrost repair` has looked for it"
				if p.opts.AcceptLost {
					help = "what that snapshot needs can't be told any more, or is not lost: run `permafrost repair`, or forget the snapshot"
				}
				return hint.Wrap(fmt.Errorf("nothing is pruned: %w", &SnapshotError{s, err}), help)
			}
		}
	}
	return ctx.Err()
}

// markBlob chooses the copies of a blob that stay: all that can't be read, and one of those that can, rather not by the word
// of one who is no longer on the roster, and still less in a pack that is known to be damaged.
func (p *prunePlan) markBlob(ctx context.Context, of *index, id chunk.ID) error {
	var room [4]place
	places, err := of.find(id, room[:0])
	if err != nil {
		return err
	}
	found, best := false, -1
	for i, pl := range places {
		ip := &p.index.packs[pl.pack]
		if p.sizes[pl.pack] != ip.size {
			continue
		}
		found = true
		switch {
		case !p.canRead(ip):
			p.keep(pl)
		case best < 0 || ip.better(&p.index.packs[places[best].pack]):
			best = i
		}
	}
	if best >= 0 {
		p.keep(places[best])
	}
	if len(places) == 0 && p.opts.AcceptLost {
		found, err = p.mayBeFound(ctx, of.only, id)
		if err == nil && !found {
			p.res.Lost++
			return nil
		}
		found = false
	}
	if !found {
		return missing(id)
	}
	return nil
}

// keep marks a place as one that stays.
func (p *prunePlan) keep(pl place) {
	if p.live.set(pl.rank) {
		p.keeps[pl.pack] += int64(pl.length)
	}
}

// better reports whether a copy rather stays in p than in q.
func (p *indexedPack) better(q *indexedPack) bool {
	if p.bad != q.bad {
		return q.bad
	}
	return p.trusted && !q.trusted
}

func (p *prunePlan) canRead(ip *indexedPack) bool {
	return ip.component == Meta || p.repo.key.CanRead()
}
