package repo

import (
	"context"
	"errors"
	"io/fs"
)

// listJunk looks for what has no name of a repository's objects, or a number of the log that is out of reach.
func (p *prunePlan) listJunk(ctx context.Context) error {
	var junk []Object
	err := p.repo.junk(ctx, p.repo.log, []string{"keys/", "log/"}, func(o Object) { junk = append(junk, o) })
	if err != nil {
		return err
	}
	for _, o := range junk {
		if comes, err := p.mayComeIntoReach(ctx, o); err != nil {
			return err
		} else if !comes {
			p.addJunk(o)
		}
	}
	return nil
}

// mayComeIntoReach reports whether an object below log/ is an entry by somebody on the list of keys. It is none yet; but it may be
// one to others by the time that it is deleted, if its signer adds to the log meanwhile.
func (p *prunePlan) mayComeIntoReach(ctx context.Context, o Object) (bool, error) {
	seq, far := p.repo.log.far[o.Name]
	if !far || p.repo.key.Role != RoleOwner {
		return false, nil
	}
	data, err := p.repo.readEntry(ctx, seq, o.Size)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	e := p.repo.log.keys.openEntry(data)
	return (e.err == nil || errors.Is(e.err, ErrNewerFormat)) && p.repo.log.known(e.signer), err
}

// addJunk has the owner delete what has no name that an object can have. No entry names it: nothing leans on it.
func (p *prunePlan) addJunk(o Object) {
	if p.repo.key.Role == RoleOwner {
		p.doomed = append(p.doomed, o)
		p.res.LeftOver++
		p.res.Freed += o.Size
	}
}
