package upkeep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"sync"

	"filippo.io/age"
	"golang.org/x/sync/errgroup"

	"permafrost/internal/wire"
	"permafrost/repo/internal/blobs"
	"permafrost/repo/internal/core"
	"permafrost/repo/internal/headers"
	"permafrost/repo/internal/index"
	"permafrost/repo/internal/machine"
	"permafrost/repo/internal/pack"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// Unlisted are the packs that no index object lists, as far as they were read.
//
// A pack says itself what is in it, and for which instance. But who made it, it does not say, and what the owner lists for
// an instance is relied on by that: so a pack is listed as sound only when each blob in it was verified, and listed only
// where a snapshot needs it. What a run under way has put is nobody's business.
type unlisted struct {
	core *core.Core
	opts RepairOptions

	mu      sync.Mutex
	tried   map[store.Name]bool
	count   int                     // packs that were read
	found   *machine.Journal        // of these, those that can be listed
	damaged map[store.Name]bool     // of these, damaged ones
	names   map[string][]store.Name // of all of these, by the instance that they were written for
}

// of yields the packs that were found for an instance.
func (u *unlisted) of(instance string) iter.Seq2[*pack.Pack, error] {
	return u.found.Packs(u.names[instance])
}

// readAll reads the packs that an index does not list. It reports whether any was read that was not before.
func (u *unlisted) readAll(ctx context.Context, known *index.Index) (more bool, err error) {
	var packs []store.Object
	err = eachPack(ctx, u.core, func(name store.Name, o store.Object) {
		named := slices.ContainsFunc(u.core.Log.Pruned[o.Name], func(s ledger.Scope) bool { return s.Owner })
		if !u.tried[name] && !named && len(known.Listed(name)) == 0 {
			packs = append(packs, o)
		}
	})
	if err == nil {
		err = readWhole(ctx, u.core, packs, u.opts.progress, u.take)
	}
	if err != nil {
		return false, err
	}
	for _, o := range packs { // those too that were gone when they were to be read
		if kind, name := store.Parse(o.Name); kind == store.Pack {
			u.tried[name] = true
		}
	}
	return len(packs) > 0, nil
}

// take notes a pack that was read.
func (u *unlisted) take(o store.Object, data []byte, err error) error {
	_, name := store.Parse(o.Name)
	var p *pack.Pack
	instance := ""
	if err == nil {
		p, instance, err = inspect(u.core, name, data)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.tried[name] = true
	u.count++
	if err != nil && u.opts.Problem != nil {
		u.opts.Problem(err)
	}
	if p == nil {
		return nil
	}
	u.damaged[name] = err != nil
	u.names[instance] = append(u.names[instance], name)
	return u.found.Add(p)
}

// readWhole reads objects side by side and calls f with each, or with the DamageError that says why it can't be read, from
// several goroutines.
func readWhole(ctx context.Context, c *core.Core, objects []store.Object, progress func(phase string, done, total int64), f func(o store.Object, data []byte, err error) error) error {
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
			err := headers.Again(ctx, c, o.Name, func() (err error) {
				data, err = store.ReadAll(ctx, c.Store, o.Name, store.MaxObject)
				return err
			})
			if d := (*store.DamageError)(nil); errors.Is(err, fs.ErrNotExist) {
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

// inspect returns what an index lists of a pack that none lists, the instance that it was written for, and what is wrong
// with it: nil and that where it can't be listed.
func inspect(c *core.Core, name store.Name, data []byte) (*pack.Pack, string, error) {
	p := &pack.Pack{Name: name, Size: int64(len(data))}
	object := store.Pack.Object(name)
	src, size, component, opener, err := decryptPack(c, data)
	if err != nil {
		return nil, "", &store.DamageError{Object: object, Err: fmt.Errorf("decrypting: %w", err)}
	}
	d, err := pack.ReadDirectory(src, size)
	if err == nil && (d.Component == pack.Meta) != (component == pack.Meta) {
		err = errors.New("it is encrypted to the wrong recipient for its component")
	}
	instance := opener.Whose(c.Log.Instances())
	if err == nil && instance == "" {
		err = errors.New("it was written for an instance that the log does not know")
	}
	if err != nil {
		return nil, "", &store.DamageError{Object: object, Err: err}
	}
	header, err := age.ExtractHeader(bytes.NewReader(data))
	if err == nil {
		p.Directory, p.Header = *d, len(header)+blobs.AgeNonce
		err = fits(p)
	}
	if err != nil {
		return nil, "", &store.DamageError{Object: object, Err: err}
	}
	if err := pack.CheckFrames(c.Log.Keys, object, d, io.NewSectionReader(src, 0, size)); err != nil {
		return p, instance, err
	}
	if store.NameOf(data) != name {
		return p, instance, &store.DamageError{Object: object, Err: errors.New("its content does not match the hash in its name")}
	}
	return p, instance, nil
}

// fits returns an error where no index object would hold the pack. Ours all fit: one that does not was made to harm.
func fits(p *pack.Pack) error {
	data := p.Append(nil)
	if len(data) > pack.Size+index.ObjectSize {
		return fmt.Errorf("its directory has %d bytes", len(data))
	}
	r := wire.NewReader(data)
	pack.Parse(r)
	return r.Close()
}

// decryptPack opens a pack by the keys of meta packs, or else those of data.
func decryptPack(c *core.Core, data []byte) (src io.ReaderAt, size int64, as pack.Component, opener *pack.Opener, err error) {
	for _, as = range []pack.Component{pack.Meta, pack.Media} {
		if opener, err = blobs.OpenerOf(c.Log.Keys, as); err != nil {
			break
		}
		if src, size, err = age.DecryptReaderAt(bytes.NewReader(data), int64(len(data)), opener); err == nil {
			break
		}
	}
	return src, size, as, opener, err
}
