package index

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"path/filepath"
	"slices"

	"permafrost/chunk"
	"permafrost/internal/localdir"
	"permafrost/repo/internal/pack"
	"permafrost/repo/store"
)

// runEntries is how many entries are sorted at once: 5.6 MiB of them. What is more becomes sorted runs on disk, which
// are merged.
const runEntries = 1 << 17

// A tableWriter makes a table of index objects and of other tables, in memory that their sizes do not matter to, but for
// some 100 bytes a pack.
type tableWriter struct {
	at      tablePlace
	file    *localdir.File   // nil for one that nobody else is to see
	scratch func() pageBytes // makes a file for what does not fit into memory
	pages   *pageWriter

	objects []tableObject
	packs   []Listing
	buf     []entry
	room    int         // entries that buf may hold
	runs    *pageWriter // nil as long as one buffer holds all
	sources []source    // of entries: sorted runs, and tables
}

// A tablePlace says where a table is to lie.
type tablePlace struct {
	keep     bool          // in dir, for others too; else it ends with the process
	dir      *localdir.Dir // nil: the system's for temporary files
	inMemory bool
}

// newTableWriter starts a table.
func newTableWriter(at tablePlace, key *[32]byte) (*tableWriter, error) {
	w := &tableWriter{at: at, room: runEntries, scratch: func() pageBytes { return newScratch(at.dir, !at.inMemory) }}
	var f pageBytes
	if !at.keep {
		f = w.scratch()
	} else {
		file, err := at.dir.Temp()
		if err != nil {
			return nil, &localError{err}
		}
		w.file, f = file, file
	}
	w.pages = newPageWriter(f, key)
	w.pages.begin(frameSize)
	return w, nil
}

// discard ends a table that is not to be. It does nothing to one that is finished.
func (w *tableWriter) discard() {
	if w.file != nil {
		w.file.Discard()
	}
}

// object begins an index object: the packs that follow are its.
func (w *tableWriter) object(o tableObject) {
	o.packs, o.blobs = 0, 0
	w.objects = append(w.objects, o)
}

// addListing appends a pack of the current object, and returns its number.
func (w *tableWriter) addListing(l Listing) (uint32, error) {
	if len(w.packs) >= math.MaxUint32 {
		return 0, errors.New("local index: too many packs")
	}
	o := len(w.objects) - 1
	l.Object = uint32(o)
	w.objects[o].packs++
	w.objects[o].blobs += uint64(l.blobs)
	w.packs = append(w.packs, l)
	return uint32(len(w.packs) - 1), nil
}

// pack adds a pack of the current object, with its frames and blobs.
func (w *tableWriter) pack(p *pack.Pack) error {
	l := listingOf(p)
	l.frame0 = uint64(w.pages.open.n)
	n, err := w.addListing(l)
	if err != nil {
		return err
	}
	at := int64(len(pack.Magic))
	var rec [frameSize]byte
	for i := range p.Frames {
		f := &p.Frames[i]
		info := Frame{Codec: f.Codec, Offset: at, Stored: f.Stored, Length: f.Length()}
		w.pages.add(info.append(rec[:0]))
		at += int64(f.Stored)
		offset := uint32(0)
		for _, b := range f.Blobs {
			if len(w.buf) == w.room {
				w.spill()
			}
			w.buf = append(w.buf, entry{})
			w.buf[len(w.buf)-1].set(b.ID, Place{Pack: n, Frame: uint32(i), Offset: offset, Length: uint32(b.Length)})
			offset += uint32(b.Length)
		}
	}
	return w.err()
}

func (w *tableWriter) err() error {
	if w.runs != nil && w.runs.err != nil {
		return w.runs.err
	}
	return w.pages.err
}

// listingOf is what is kept of a pack beside its frames and blobs.
func listingOf(p *pack.Pack) Listing {
	l := Listing{Name: p.Name, Size: p.Size, Header: p.Header, Epoch: p.Epoch, Component: p.Component, frames: uint32(len(p.Frames))}
	l.Digest = p.Directory.Digest()
	for i := range p.Frames {
		l.blobs += uint32(len(p.Frames[i].Blobs))
		l.Total += int64(p.Frames[i].Length())
	}
	return l
}

// table adds the index objects of t for which use is true.
func (w *tableWriter) table(t *table, use func(object store.Name) bool) error {
	numbers := make([]uint32, 0, t.packs.n) // the packs' new ones, plus one
	packs := t.read(t.packs)
	frames := t.read(t.frames)
	for _, o := range t.covers {
		used := use(o.name)
		if used {
			w.object(o)
		}
		for range o.packs {
			n, err := w.copyPack(packs, frames, used)
			if err != nil {
				return err
			}
			numbers = append(numbers, n)
		}
	}
	w.sources = append(w.sources, &tableSource{t.read(t.entries), numbers})
	return w.err()
}

// copyPack reads the next pack of a table with its frames. It returns its new number plus one, or 0 for one that is not
// used.
func (w *tableWriter) copyPack(packs, frames *sectionReader, used bool) (uint32, error) {
	rec, err := packs.read()
	if err != nil {
		return 0, asBadPage(err)
	}
	l := parseListing(rec)
	first := w.pages.open.n
	for range l.frames {
		rec, err := frames.read()
		if err != nil {
			return 0, asBadPage(err)
		}
		if used {
			w.pages.add(rec)
		}
	}
	if !used {
		return 0, nil
	}
	l.frame0 = uint64(first)
	n, err := w.addListing(l)
	return n + 1, err
}

// asBadPage makes an end that comes too early what it is.
func asBadPage(err error) error {
	if err == io.EOF {
		return errPage
	}
	return err
}

// spill makes a sorted run of the buffer.
func (w *tableWriter) spill() {
	if w.runs == nil {
		w.runs = newPageWriter(w.scratch(), w.pages.key)
	}
	w.sort()
	w.runs.begin(entrySize)
	for i := range w.buf {
		w.runs.add(w.buf[i][:])
	}
	w.sources = append(w.sources, newSectionReader(w.runs.f, w.runs.key, w.runs.file, w.runs.end()))
	w.buf = w.buf[:0]
}

func (w *tableWriter) sort() {
	slices.SortFunc(w.buf, func(a, b entry) int {
		if c := cmp.Compare(binary.BigEndian.Uint64(a[:]), binary.BigEndian.Uint64(b[:])); c != 0 {
			return c
		}
		return bytes.Compare(a[8:], b[8:])
	})
}

// finish merges the entries and completes the table, under a name where it is to be kept.
func (w *tableWriter) finish(name string) (*table, error) {
	t := table{frames: w.pages.end()}
	var err error
	if t.entries, t.keys, err = w.merge(); err != nil {
		return nil, err
	}
	var rec [max(objectSize, recordSize)]byte
	w.pages.begin(objectSize)
	for i := range w.objects {
		w.pages.add(w.objects[i].append(rec[:0]))
	}
	t.objects = w.pages.end()
	w.pages.begin(recordSize)
	for i := range w.packs {
		w.pages.add(w.packs[i].append(rec[:0]))
	}
	t.packs = w.pages.end()
	if err := w.pages.header(t.header()); err != nil {
		return nil, err
	}
	if w.file == nil {
		return openTable("", w.pages.f, int64(w.pages.next)*pageSize, w.pages.key)
	}
	// Under its temporary name: as soon as it has its own, another process may remove it.
	made, err := openTableFile(w.at.dir, filepath.Base(w.file.Name()), w.pages.key)
	if err == nil {
		made.path = w.at.dir.Path(name)
		err = w.file.Replace(name)
	}
	if err != nil {
		return nil, &localError{err}
	}
	return made, nil
}

// merge writes all entries in their order, and the fan-out.
func (w *tableWriter) merge() (entries, keys section, err error) {
	if w.runs != nil {
		w.spill()
		w.buf = nil
	}
	w.sort()
	if err := w.err(); err != nil {
		return section{}, section{}, err
	}
	m, err := newMerger(append(w.sources, (*bufferSource)(&w.buf)))
	if err != nil {
		return section{}, section{}, err
	}
	w.pages.begin(entrySize)
	per := w.pages.open.perPage()
	var fan []byte
	for m.len() > 0 {
		e := m.top()
		if w.pages.open.n%per == 0 {
			fan = append(fan, e[:keySize]...)
		}
		w.pages.add(e)
		if err := m.pop(); err != nil {
			return section{}, section{}, err
		}
		if err := w.pages.err; err != nil {
			return section{}, section{}, err
		}
	}
	entries = w.pages.end()
	w.pages.begin(keySize)
	for key := range slices.Chunk(fan, keySize) {
		w.pages.add(key)
	}
	return entries, w.pages.end(), w.pages.err
}

// A source yields entries in their order, each valid until the next, then io.EOF.
type source interface {
	read() ([]byte, error)
}

// A bufferSource yields what lies sorted in memory.
type bufferSource []entry

func (s *bufferSource) read() ([]byte, error) {
	if len(*s) == 0 {
		return nil, io.EOF
	}
	e := (*s)[0][:]
	*s = (*s)[1:]
	return e, nil
}

// A tableSource yields a table's entries under the packs' new numbers, which are in the old ones' order.
type tableSource struct {
	in      *sectionReader
	numbers []uint32 // plus one; 0: left out
}

func (s *tableSource) read() ([]byte, error) {
	for {
		e, err := s.in.read()
		if err != nil {
			return nil, err
		}
		n := binary.BigEndian.Uint32(e[chunk.Size:])
		if int(n) >= len(s.numbers) {
			return nil, errPage
		}
		if n = s.numbers[n]; n > 0 {
			binary.BigEndian.PutUint32(e[chunk.Size:], n-1)
			return e, nil
		}
	}
}

// A merger yields the entries of several sources in one order: a heap of the sources by their next entry.
type merger struct{ heap []head }

type head struct {
	e    []byte
	from source
}

func newMerger(sources []source) (*merger, error) {
	m := new(merger)
	for _, s := range sources {
		switch e, err := s.read(); {
		case err == io.EOF:
		case err != nil:
			return nil, err
		default:
			m.heap = append(m.heap, head{e, s})
		}
	}
	for i := len(m.heap) / 2; i >= 0; i-- {
		m.down(i)
	}
	return m, nil
}

func (m *merger) len() int { return len(m.heap) }

func (m *merger) top() []byte { return m.heap[0].e }

// pop goes on to the entry behind the top.
func (m *merger) pop() error {
	h := &m.heap[0]
	var err error
	if h.e, err = h.from.read(); err == io.EOF {
		last := len(m.heap) - 1
		m.heap[0] = m.heap[last]
		m.heap = m.heap[:last]
	} else if err != nil {
		return err
	}
	m.down(0)
	return nil
}

func (m *merger) down(i int) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(m.heap); c++ {
			if bytes.Compare(m.heap[c].e, m.heap[least].e) < 0 {
				least = c
			}
		}
		if least == i {
			return
		}
		m.heap[i], m.heap[least] = m.heap[least], m.heap[i]
		i = least
	}
}
