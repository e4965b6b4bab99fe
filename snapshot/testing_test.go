package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"permafrost/internal/snaptest"
	"permafrost/snapshot/internal/blobtree"
	"permafrost/snapshot/stream"
	"permafrost/source"
)

// mastodonTree returns the entries of a media tree with the given number of attachments of two files each, as
// Mastodon lays them out: four directories and more an attachment, names of snowflakes, times that follow.
func mastodonTree(seed uint64, attachments int) []*Entry {
	r := rand.New(rand.NewPCG(seed, 1))
	inode := uint64(1000)
	seen := make(map[string]*Entry)
	var all []*Entry
	now := int64(1_680_000_000_000_000_000)
	add := func(path string, t source.Type) *Entry {
		inode += 1 + r.Uint64N(3)
		e := &Entry{Entry: source.Entry{Path: path, Type: t, Mode: 0o755, UID: 991, GID: 991, MTime: now, CTime: now, Inode: inode}}
		now += 20_000 + r.Int64N(300_000)
		seen[path] = e
		all = append(all, e)
		return e
	}
	add(".", source.Dir)
	id := uint64(109_384_712_000_000_000)
	for range attachments {
		now += r.Int64N(100_000_000_000)
		id += r.Uint64N(6_000_000_000)
		digits := fmt.Sprintf("%018d", id)
		path := "cache"
		for _, part := range []string{"media_attachments", "files", digits[:3], digits[3:6], digits[6:9], digits[9:12], digits[12:15], digits[15:]} {
			if seen[path] == nil {
				add(path, source.Dir)
			}
			path += "/" + part
		}
		add(path, source.Dir)
		name := fmt.Sprintf("%016x.jpg", r.Uint64())
		for _, style := range []string{"original", "small"} {
			add(path+"/"+style, source.Dir)
			f := add(path+"/"+style+"/"+name, source.File)
			f.Mode, f.Dev = 0o644, 2049
			f.CTime = f.MTime + 30_000 + r.Int64N(2_000_000)
			f.Size = 4000 + r.Int64N(300_000)
			f.Content = stream.Whole(snaptest.RandomID(r), f.Size)
			seen[path+"/"+style].MTime = f.MTime - r.Int64N(50_000)
		}
	}
	for _, e := range all {
		if e.Type != source.File {
			e.CTime, e.Inode = 0, 0 // not kept
		}
	}
	slices.SortFunc(all, func(a, b *Entry) int { return source.ComparePaths(a.Path, b.Path) })
	return all
}

func writeListing(t testing.TB, m snaptest.Blobs, entries []*Entry) Listing {
	t.Helper()
	w := NewListingWriter(m.Put, sha256.Sum256([]byte("key")))
	for _, e := range entries {
		if err := w.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	l, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// inspectRecipe returns what is wrong with a stream.
func (i *Inspector) inspectRecipe(ctx context.Context, r *stream.Recipe, blobs snaptest.Blobs) error {
	v := &snaptest.LookUp{Blobs: blobs}
	in := &visit{Inspector: i, visitor: v}
	in.settle("stream", in.recipe(ctx, r))
	return errors.Join(append(v.Losses, in.stop)...)
}

const headerBytes = 2 // bytes of a node or leaf: kind and level

// A listingNode is an inner node of a listing, whatever it says, written as the package's documentation has it.
type listingNode struct {
	buf         []byte
	weight      int64
	first, last string
}

func newListingNode(level int) *listingNode {
	return &listingNode{buf: []byte{blobtree.Listing, byte(level)}}
}

func (n *listingNode) add(r blobtree.Ref) {
	if n.weight == 0 {
		n.first = r.First
	}
	n.buf = binary.AppendUvarint(append(n.buf, r.ID[:]...), uint64(r.Weight))
	n.buf = blobtree.AppendSuffix(n.buf, n.last, r.First)
	n.last, n.weight = r.First, n.weight+r.Weight
}

// records returns what the node holds behind its header.
func (n *listingNode) records() []byte { return n.buf[headerBytes:] }
