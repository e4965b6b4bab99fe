package snapshot

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"permafrost/chunk"
	"permafrost/repo"
	"permafrost/repo/inspection"
	"permafrost/repo/ledger"
	"permafrost/snapshot/internal/blobtree"
	"permafrost/snapshot/stream"
	"permafrost/source"
)

// An Inspector knows what the snapshots of an instance need, and whether that makes what they were: that each recipe and listing is
// well-formed, and sums and counts are what the manifest says. Whether the blobs of content are there its visitor says; they are not
// read.
//
// It reads each listing's and recipe's blob once, however many snapshots share it and however often a recipe names it: the work is
// bounded by what is stored. Where something below a blob was lost it is read again, so that every snapshot hears of its own loss.
type Inspector struct {
	instance string
	get      *watched
	recipes  map[chunk.ID]branch // that were found good
	listings map[chunk.ID]region // likewise
}

// A branch is what a recipe says of the blob that it names.
type branch struct {
	level  int
	weight int64
}

// A region is what a listing says of the blob that it names, and what was found below.
type region struct {
	branch
	first, last string // paths
	counts
}

// counts are of the media.
type counts struct {
	files int64 // regular ones; each name of a hard link counts
	bytes int64 // a hard link's count once
}

// NewInspector returns an Inspector that reads by rd. It is an [inspection.Maker].
func NewInspector(rd *repo.Reader) inspection.Inspector { return newInspector(rd.Instance(), rd) }

func newInspector(instance string, get stream.Getter) *Inspector {
	return &Inspector{instance, &watched{Getter: get}, make(map[chunk.ID]branch), make(map[chunk.ID]region)}
}

// Inspect implements inspection.Inspector.
func (i *Inspector) Inspect(ctx context.Context, manifest []byte, v inspection.Visitor) (ledger.Holding, error) {
	m, err := parseManifestOf(i.instance, manifest)
	if err != nil {
		return ledger.Holding{}, i.get.blame("manifest", err)
	}
	return m.holding(), (&visit{Inspector: i, visitor: v}).manifest(ctx, m)
}

// A visit is that of one snapshot. The first part of it that is lost does not end it.
type visit struct {
	*Inspector
	visitor inspection.Visitor
	lost    int    // parts
	stop    error  // that ends it
	part    string // at hand
	fault   error  // of the visitor, by which the part at hand can't be had
}

// manifest inspects all parts of a snapshot.
func (i *visit) manifest(ctx context.Context, m *Manifest) error {
	for name, r := range m.recipes() {
		if i.part = name; !i.settle(name, i.recipe(ctx, r)) {
			return i.stop
		}
	}
	lost := i.lost
	media, err := i.listing(ctx, &m.Media.Listing)
	if i.stop != nil {
		return i.stop
	}
	if err == nil && i.lost == lost && (media.files != m.Media.Files || media.bytes != m.Media.Size) {
		err = fmt.Errorf("%d files of %d bytes, and the manifest says %d of %d", media.files, media.bytes, m.Media.Files, m.Media.Size)
	}
	i.settle("media", err)
	return i.stop
}

// settle tells of a part that is lost, if err says that it is, and reports whether the visit goes on.
func (i *visit) settle(part string, err error) bool {
	if i.fault != nil {
		err, i.fault = i.fault, nil
	}
	if err = i.get.blame(part, err); isDamage(err) {
		i.lost++
		i.stop = i.visitor.Lost(part, err)
	} else if err != nil {
		i.stop = fmt.Errorf("%s: %w", part, err)
	}
	return i.stop == nil
}

// need tells of one need of the part at hand, and reports whether it can be met.
func (i *visit) need(ctx context.Context, n inspection.Need) bool {
	if i.fault == nil {
		n.Part = i.part
		i.fault = i.visitor.Need(ctx, n)
	}
	return i.fault == nil
}

// recipe inspects a stream.
func (i *visit) recipe(ctx context.Context, r *stream.Recipe) error {
	if r.Depth == 0 {
		return i.chunks(ctx, r.Root, r.Size)
	}
	t := blobtree.Reader{Kind: blobtree.Recipe, Get: i.get}
	t.Enter = func(x blobtree.Ref, level int, _ string) bool {
		return i.need(ctx, inspection.Need{Blob: x.ID}) && i.recipes[x.ID] != branch{level, x.Weight}
	}
	t.Leaf = func(x blobtree.Ref, records []byte) (bool, error) {
		err := i.chunks(ctx, records, x.Weight)
		return i.fault == nil, err
	}
	t.Leave = func(x blobtree.Ref, level int) {
		if i.fault == nil {
			i.recipes[x.ID] = branch{level, x.Weight}
		}
	}
	return t.Walk(ctx, r.Depth, r.Root, r.Size)
}

// chunks inspects a leaf's records, of size bytes of a stream.
func (i *visit) chunks(ctx context.Context, records []byte, size int64) error {
	return stream.EachChunk(records, size, func(c stream.Chunk) bool {
		if !c.Hole() && c.Extents == nil {
			return i.need(ctx, inspection.Need{Blob: c.ID, Length: int(c.Length), Whole: true})
		}
		for _, x := range c.Extents {
			if !i.need(ctx, inspection.Need{Blob: x.Blob, Offset: x.Offset, Length: x.Length}) {
				return false
			}
		}
		return true
	})
}

// listing inspects the media and counts the files.
func (i *visit) listing(ctx context.Context, l *Listing) (counts, error) {
	w := mediaWalk{visit: i}
	if l.Entries == 0 {
		return w.total, nil
	}
	t := blobtree.Reader{Kind: blobtree.Listing, Get: i.get, Enter: func(x blobtree.Ref, level int, next string) bool { return w.enter(ctx, x, level, next) },
		Leaf: func(x blobtree.Ref, records []byte) (bool, error) { return w.leaf(ctx, x, records) }, Leave: w.leave}
	i.part = "media"
	err := t.Walk(ctx, l.Depth, l.Root, l.Entries)
	return w.total, err
}

// A mediaWalk is on its way through a listing.
type mediaWalk struct {
	*visit
	total counts                         // so far
	last  string                         // path so far
	end   string                         // at which the branch that was entered last ends; "" where nothing tells
	begun [blobtree.MaxDepth + 1]mediaAt // of the branch of each level that is being walked
}

// A mediaAt is where a branch begins.
type mediaAt struct {
	counts
	lost int
}

// enter implements blobtree.Reader.Enter.
func (w *mediaWalk) enter(ctx context.Context, x blobtree.Ref, level int, next string) bool {
	if !w.need(ctx, inspection.Need{Blob: x.ID}) {
		return false
	}
	if r, ok := w.listings[x.ID]; ok && r.branch == (branch{level, x.Weight}) && r.first == x.First && before(r.last, next) {
		w.total.add(r.counts)
		w.last = r.last
		return false
	}
	w.end, w.begun[level] = next, mediaAt{w.total, w.lost}
	return true
}

// leave implements blobtree.Reader.Leave.
func (w *mediaWalk) leave(x blobtree.Ref, level int) {
	if from := w.begun[level]; w.fault == nil && w.lost == from.lost {
		found := counts{w.total.files - from.files, w.total.bytes - from.bytes}
		w.listings[x.ID] = region{branch{level, x.Weight}, x.First, w.last, found}
	}
}

// leaf inspects the entries of one leaf.
func (w *mediaWalk) leaf(ctx context.Context, x blobtree.Ref, records []byte) (bool, error) {
	err := eachEntry(x, records, func(e *Entry) bool {
		w.last = e.Path
		if e.Type != source.File {
			return true
		}
		w.total.files++
		if e.Link != "" {
			return true
		}
		w.total.bytes += e.Content.Size
		w.part = "media/" + e.Path
		return w.settle(w.part, w.recipe(ctx, &e.Content))
	})
	w.part = "media"
	if err == nil && w.stop == nil && !before(w.last, w.end) {
		err = errors.New("leaves are out of order")
	}
	return w.stop == nil, err
}

// before reports whether a path lies before the end of a branch, "" where nothing tells that.
func before(path, end string) bool { return end == "" || source.ComparePaths(path, end) < 0 }

func (c *counts) add(d counts) {
	c.files += d.files
	c.bytes += d.bytes
}

// recipes yields the recipe of each stream of the snapshot, with its name as Dump takes it.
func (m *Manifest) recipes() iter.Seq2[string, *stream.Recipe] {
	return func(yield func(string, *stream.Recipe) bool) {
		for i := range m.Secrets.Files {
			if f := &m.Secrets.Files[i]; !yield("secrets"+string(f.Path), &f.Recipe) {
				return
			}
		}
		if m.Postgres.State == Captured && !yield("postgres", &m.Postgres.Recipe) {
			return
		}
		for name, r := range m.Redises {
			if r.State == Captured && !yield(name, &r.Recipe) {
				return
			}
		}
	}
}
