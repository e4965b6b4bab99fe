package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"permafrost/chunk"
	"permafrost/internal/freelist"
	"permafrost/repo"
	"permafrost/snapshot"
	"permafrost/snapshot/stream"
	"permafrost/source"
	"permafrost/source/media"
)

const (
	fileReaders   = 16      // goroutines that open and read files
	filesAhead    = 512     // entries between the walk and the listing
	fileBytes     = 8 << 20 // bytes of file content in memory
	listingCutKey = "permafrost: where listings are cut"
)

// A tree is a media tree: what a media.Tree does.
type tree interface {
	Walk(ctx context.Context) iter.Seq2[*source.Entry, error]
	Open(path string) (*media.File, error)
	Vanished() media.Vanished
}

// An item is an entry on its way from the walk to the listing.
type item struct {
	snapshot.Entry
	unread error          // what the walk could not read of it
	err    error          // that kept its content from being read
	shared bool           // other names of its inode follow
	old    *stream.Recipe // its content in the previous snapshot, if it seems unchanged
	held   int64          // bytes of the budget
	ready  chan struct{}  // closed once a reader is through; nil where none is needed

	data   []byte // the whole content, as read
	id     chunk.ID
	inline bool // the content is to be read where the listing is written
	reused bool
	moved  bool // what was read is not what the walk found

	instead string // first name of its inode, which could not be stored
}

// A capture stores a media tree: one goroutine walks, several read, and one stores and lists in the walk's order.
type capture struct {
	in       *ingester
	tree     tree
	rd       stream.Getter
	length   func(chunk.ID) (int, bool)
	previous *snapshot.Manifest           // nil: everything is read
	warn     func(path string, err error) // a file is left out
	note     func(err error)              // the previous snapshot is of no use
	same     sameness
	told     func(files, bytes int64)

	budget  *semaphore.Weighted
	buffers *freelist.List
	split   *chunk.Splitter
	list    *snapshot.ListingWriter
	lost    map[string]string // first names that could not be stored, and the name that took their place
	gone    string            // the first file that had vanished when it was to be opened
	again   reread
	out     snapshot.Media
}

// run stores the tree. Files that can't be read are named by warn and left out.
func (c *capture) run(ctx context.Context) (snapshot.Media, error) {
	c.budget = semaphore.NewWeighted(fileBytes)
	c.buffers = freelist.New(fileBytes, bufferSizes...)
	c.lost = make(map[string]string)
	g, ctx := errgroup.WithContext(ctx)
	c.list = snapshot.NewListingWriter(c.in.sink(ctx), c.in.w.Sum(repo.Meta, []byte(listingCutKey)))
	order, jobs := make(chan *item, filesAhead), make(chan *item, filesAhead)
	g.Go(func() error {
		defer close(order)
		defer close(jobs)
		return c.walk(ctx, order, jobs)
	})
	for range fileReaders {
		g.Go(func() error {
			for it := range jobs {
				c.read(ctx, it)
				close(it.ready)
			}
			return nil
		})
	}
	g.Go(func() (err error) {
		for it := range order {
			if it.ready != nil {
				<-it.ready
			}
			if err = c.store(ctx, it); err != nil {
				return err
			}
			c.release(it)
		}
		c.out.Listing, err = c.list.Finish()
		return err
	})
	if err := g.Wait(); err != nil {
		return snapshot.Media{}, err
	}
	c.vanished(c.tree.Vanished())
	c.out.State = snapshot.Captured
	c.out.Reread = c.again.files
	c.out.TrimClasses()
	return c.out, nil
}

// walk sends every entry to order and those that take work to jobs. What it takes of the budget it takes in order,
// so that the item which the listing waits for always has its share.
func (c *capture) walk(ctx context.Context, order, jobs chan<- *item) error {
	links := make(hardLinks)
	old := newMerge(ctx, c.previous, c.rd, c.same, c.note)
	defer func() {
		old.stop()
		c.again = old.again
	}()
	for e, err := range c.tree.Walk(ctx) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if e == nil {
			return err
		}
		it := &item{Entry: snapshot.Entry{Entry: *e}}
		if err != nil {
			// What is known of it is kept all the same: a directory without some of its entries, a file without its
			// extended attributes.
			it.unread = err
		}
		if e.Type == source.File {
			it.Link, it.shared = links.first(e)
			if it.Link == "" && e.Size > 0 {
				it.old = old.content(e)
				it.inline = e.Size > chunk.MaxSize
				it.ready = make(chan struct{})
			}
		}
		if it.ready != nil && !it.inline {
			it.held = int64(bufferSize(e.Size))
			if err := c.budget.Acquire(ctx, it.held); err != nil {
				return err
			}
		}
		if it.ready != nil {
			if err := send(ctx, jobs, it); err != nil {
				return err
			}
		}
		if err := send(ctx, order, it); err != nil {
			return err
		}
	}
	return nil
}

func send[T any](ctx context.Context, c chan<- T, it T) error {
	select {
	case c <- it:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// read finds the content of a file: what the previous snapshot has, or what is in the file now.
func (c *capture) read(ctx context.Context, it *item) {
	if it.old != nil && c.mayReference(ctx, it.old) {
		it.Content, it.reused = *it.old, true
		c.release(it)
		return
	}
	if it.inline {
		return
	}
	it.data, it.err = c.readWhole(ctx, it)
	if it.err == nil && len(it.data) > 0 {
		it.id = c.in.w.Sum(repo.Media, it.data)
	}
}

// store puts an item's content into the repository and the item into the listing.
func (c *capture) store(ctx context.Context, it *item) error {
	if ctx.Err() != nil {
		return context.Cause(ctx) // and not the fault of the file
	}
	if it.Link != "" {
		c.relink(it)
	}
	if it.unread != nil {
		c.leftUnread(ctx, it)
		if it.Type == 0 {
			return nil
		}
	}
	err := it.err
	if err == nil {
		err = it.CheckAttributes()
	}
	if err == nil && it.Type == source.File && it.Link == "" && !it.reused && it.Size > 0 {
		failed, unreadable := c.content(ctx, it)
		if failed != nil {
			return failed
		}
		err = unreadable
	}
	if err == nil && it.Type == source.File && it.Link == "" && it.Size > stream.MaxSize-c.out.Size {
		err = fmt.Errorf("with %d bytes more the media are larger than a snapshot can hold", it.Size)
	}
	if err != nil {
		c.leave(it, err)
		return nil
	}
	if it.moved {
		// What the walk took for further names of it may be names of something else.
		c.out.Changed++
		c.forsake(it)
	}
	if it.Type == source.File {
		c.count(&it.Entry)
	}
	if it.Path == "." {
		c.out.UID, c.out.GID = it.UID, it.GID
	}
	return c.list.Add(&it.Entry)
}

// count counts a file that is stored.
func (c *capture) count(e *snapshot.Entry) {
	c.told(1, e.Size)
	c.out.Count(e)
}

// relink makes a hard link to a name that was not stored a file of its own, or a link to the one that took its place.
func (c *capture) relink(it *item) {
	other, lost := c.lost[it.Link]
	if !lost {
		return
	}
	if other == "" {
		c.lost[it.Link] = it.Path
		it.instead, it.inline = it.Link, true
	}
	it.Link = other
}

// forsake leaves the further names of an item's inode to the first that comes of them.
func (c *capture) forsake(it *item) {
	if it.shared {
		c.lost[it.Path] = ""
	}
	if it.instead != "" {
		c.lost[it.instead] = ""
	}
}

// leave counts a file that is not stored.
func (c *capture) leave(it *item, err error) {
	c.forsake(it)
	if errors.Is(err, fs.ErrNotExist) {
		c.out.Vanished++
		c.gone = cmp.Or(c.gone, it.Path)
		return
	}
	c.leftOut(it.Path, err)
}

// Of what vanishes during a run so much is Mastodon's own doing: it deletes files one by one, and of directories those that this
// leaves empty. What is more, and more than a hundredth of all, went some other way: as a rule a directory was renamed to a name
// that the walk was past.
const (
	fewVanished   = 20
	vanishedShare = 100
)

// vanished counts what was gone when the walk came to it. Where that is too much for deletions it is a part left out.
func (c *capture) vanished(v media.Vanished) {
	c.out.Vanished += v.Entries + v.Below
	n := c.out.Vanished
	if n <= fewVanished || n <= (c.out.Files+n)/vanishedShare {
		return
	}
	first := cmp.Or(v.First, c.gone)
	c.leftOut(first, fmt.Errorf("this and %d other files vanished while the media were read, and are missing: was a directory renamed?", n-1))
	c.out.LeftOut += int(n - 1)
}

// leftUnread notes what the walk could not read. Of a directory that is all below it: as many files as the previous snapshot has
// there, if it has any.
func (c *capture) leftUnread(ctx context.Context, it *item) {
	var list *media.ListError
	if !errors.As(it.unread, &list) {
		c.leftOut(it.Path, it.unread)
		return
	}
	known := int64(0)
	if m := c.previous; m != nil && m.Media.State == snapshot.Captured {
		for e, err := range snapshot.Entries(ctx, c.rd, m, it.Path) {
			if err != nil {
				break
			}
			if e.Type == source.File {
				known++
			}
		}
	}
	text := "the directory can't be read, and everything below it is missing"
	if known > 0 {
		text += fmt.Sprintf(": %d files in the snapshot before", known)
		c.out.LeftOut += int(known - 1)
	}
	c.leftOut(it.Path, fmt.Errorf("%s: %s", text, snapshot.Reason(it.unread)))
}

// leftOut notes what is missing from the snapshot.
func (c *capture) leftOut(path string, err error) {
	c.out.LeaveOut(path, err)
	c.warn(path, err)
}

// content stores the content of a file. Only unreadable is the file's own fault.
func (c *capture) content(ctx context.Context, it *item) (failed, unreadable error) {
	if it.inline {
		return c.readLarge(ctx, it)
	}
	if it.Size == 0 {
		return nil, nil
	}
	it.Content = stream.Whole(it.id, it.Size)
	_, err := c.in.w.Add(ctx, repo.Media, it.id, it.data)
	return err, nil
}

// mayReference reports whether this snapshot may reference everything that a recipe of an earlier one does.
func (c *capture) mayReference(ctx context.Context, r *stream.Recipe) bool {
	has := func(id chunk.ID, length int) bool {
		ok, err := c.in.w.Has(ctx, id, length)
		return ok && err == nil
	}
	if id, ok := r.Blob(); ok {
		return has(id, int(r.Size))
	}
	all := true
	for b, err := range r.Blobs(ctx, c.rd) {
		length, known := c.length(b)
		if all = err == nil && known && has(b, length); !all {
			break
		}
	}
	return all
}
