package snapshot

import (
	"context"
	"errors"
	"fmt"

	"permafrost/chunk"
	"permafrost/repo"
	"permafrost/source"
)

// Counts are what a Verifier found in a snapshot.
type Counts struct {
	Entries int64 // of the media
	Files   int64 // of these, regular ones; each name of a hard link counts
	Bytes   int64 // of all components; a hard link's count once
}

func (c *Counts) add(d Counts) {
	c.Entries += d.Entries
	c.Files += d.Files
	c.Bytes += d.Bytes
}

// A Verifier checks that snapshots can be put together again: that each recipe and listing is well-formed, sums and
// counts are what the manifest says, and every extent lies within a blob that the index knows. The blobs of content
// are not read. What several snapshots share is read once, and so is what a recipe names many times: the work is bounded by
// what is stored.
type Verifier struct {
	// Lost hears of each part that can't be put together again, a name as Dump takes it. Verify's error is then one of
	// reading alone. Without Lost it is the first of either kind.
	Lost func(part string, err error)

	rd     verifiedReader
	leaves map[chunk.ID]Counts // of listings, found good
	good   map[chunk.ID]branch // of recipes
	gone   int                 // parts of the snapshot at hand that are lost
}

// A branch is what a recipe says of the blob that it names.
type branch struct {
	level  int
	weight int64
}

// A verifiedReader is a watched Reader.
type verifiedReader struct {
	*watched
	lengths interface {
		Length(id chunk.ID) (int, bool)
	}
}

// Length returns a blob's length in bytes, if the index knows it.
func (r verifiedReader) Length(id chunk.ID) (int, bool) { return r.lengths.Length(id) }

// NewVerifier returns a Verifier that reads by rd.
func NewVerifier(rd *repo.Reader) *Verifier {
	return &Verifier{rd: verifiedReader{&watched{BlobGetter: rd}, rd}, leaves: make(map[chunk.ID]Counts), good: make(map[chunk.ID]branch)}
}

// Verify checks one snapshot.
func (v *Verifier) Verify(ctx context.Context, m *Manifest) (Counts, error) {
	var total Counts
	v.gone = 0
	for name, r := range m.recipes() {
		if err := v.lost(name, v.recipe(ctx, r)); err != nil {
			return total, fmt.Errorf("%s: %w", name, err)
		}
		total.Bytes += r.Size
	}
	gone := v.gone
	media, err := v.listing(ctx, &m.Media.Listing)
	if err == nil && v.gone == gone && (media.Files != m.Media.Files || media.Bytes != m.Media.Size) {
		err = fmt.Errorf("%d files of %d bytes, and the manifest says %d of %d", media.Files, media.Bytes, m.Media.Files, m.Media.Size)
	}
	if err = v.lost("media", err); err != nil {
		return total, fmt.Errorf("media: %w", err)
	}
	total.add(media)
	return total, nil
}

// lost tells of a part that is damaged, if there is somebody who wants to hear of it, and returns every other error.
func (v *Verifier) lost(part string, err error) error {
	if err = v.rd.blame(part, err); v.Lost == nil || !isDamage(err) {
		return err
	}
	v.gone++
	v.Lost(part, err)
	return nil
}

// recipe checks a stream.
func (v *Verifier) recipe(ctx context.Context, r *Recipe) error {
	if r.Depth == 0 {
		return v.chunks(r.Root, r.Size)
	}
	t := treeReader{kind: kindRecipe, get: v.rd,
		enter: func(x ref, level int, _ string) bool { return v.good[x.id] != branch{level, x.weight} },
		leaf:  func(x ref, records []byte) (bool, error) { return true, v.chunks(records, x.weight) },
		leave: func(x ref, level int) { v.good[x.id] = branch{level, x.weight} }}
	return t.walk(ctx, r.Depth, r.Root, r.Size)
}

// chunks checks a leaf's records, of size bytes of a stream.
func (v *Verifier) chunks(records []byte, size int64) error {
	var bad error
	err := eachChunk(records, size, func(c Chunk) bool {
		if !c.Hole() && c.Extents == nil {
			bad = v.extent(c.ID, 0, int(c.Length), true)
		}
		for i := 0; i < len(c.Extents) && bad == nil; i++ {
			x := &c.Extents[i]
			bad = v.extent(x.Blob, x.Offset, x.Length, false)
		}
		return bad == nil
	})
	if bad != nil {
		return bad
	}
	return err
}

// extent checks that a blob holds n bytes from off on, exactly these if whole.
func (v *Verifier) extent(id chunk.ID, off, n int, whole bool) error {
	_, err := blobLength(v.rd, id, off, n, whole)
	return err
}

// listing checks a media tree, leaf by leaf.
func (v *Verifier) listing(ctx context.Context, l *Listing) (Counts, error) {
	var total Counts
	if l.Entries == 0 {
		return total, nil
	}
	t := treeReader{kind: kindListing, get: v.rd}
	t.enter = func(x ref, level int, _ string) bool {
		c, known := v.leaves[x.id]
		total.add(c)
		return level > 0 || !known
	}
	t.leaf = func(x ref, records []byte) (bool, error) {
		before := v.gone
		c, err := v.leaf(ctx, x, records)
		if err == nil {
			total.add(c)
		}
		if err == nil && v.gone == before {
			v.leaves[x.id] = c
		}
		return true, err
	}
	err := t.walk(ctx, l.Depth, l.Root, l.Entries)
	if err == nil && total.Entries != l.Entries {
		err = errors.New("entries are missing")
	}
	return total, err
}

// leaf checks the entries of one leaf.
func (v *Verifier) leaf(ctx context.Context, x ref, records []byte) (Counts, error) {
	var out Counts
	var bad error
	err := eachEntry(x, records, func(e *Entry) bool {
		out.Entries++
		if e.Type != source.File {
			return true
		}
		out.Files++
		if e.Link != "" {
			return true
		}
		if err := v.lost("media/"+e.Path, v.recipe(ctx, &e.Content)); err != nil {
			bad = fmt.Errorf("%s: %w", e.Path, err)
			return false
		}
		out.Bytes += e.Content.Size
		return true
	})
	if bad != nil {
		err = bad
	}
	return out, err
}
