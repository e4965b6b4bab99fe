package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sort"
	"sync/atomic"

	"permafrost/chunk"
	"permafrost/internal/localdir"
	"permafrost/repo/internal/pack"
	"permafrost/repo/store"
)

// The records of a table. An entry sorts as its bytes do.
const (
	tableMagic = "PFTABLE\x01"

	entrySize  = chunk.Size + 4 + 3 + 3 + 3
	frameSize  = 12
	keySize    = 8
	objectSize = 32 + 32 + 4 + 8 + 1 + MaxInstance
	recordSize = 32 + 16 + 4 + 2 + 4 + 1 + 4 + 8 + 4 + 8 + 4
)

// An entry is a place of a blob: its ID, the pack's number in the table, the frame's in the pack, the offset in the
// frame's plaintext and the length, big-endian.
type entry [entrySize]byte

func (e *entry) set(id chunk.ID, pl Place) {
	copy(e[:], id[:])
	binary.BigEndian.PutUint32(e[32:], pl.Pack)
	put24(e[36:], pl.Frame)
	put24(e[39:], pl.Offset)
	put24(e[42:], pl.Length)
}

func parsePlace(e []byte) Place {
	return Place{Pack: binary.BigEndian.Uint32(e[32:]), Frame: get24(e[36:]), Offset: get24(e[39:]), Length: get24(e[42:])}
}

func put24(b []byte, v uint32) { b[0], b[1], b[2] = byte(v>>16), byte(v>>8), byte(v) }

func get24(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }

// A Frame is what the index holds of a frame.
type Frame struct {
	Codec  pack.Codec
	Offset int64 // in the pack's plaintext
	Stored int   // bytes in the pack
	Length int   // bytes of plaintext
}

func (f Frame) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(f.Offset))
	b = binary.LittleEndian.AppendUint32(b, uint32(f.Stored)|uint32(f.Codec)<<26)
	return binary.LittleEndian.AppendUint32(b, uint32(f.Length))
}

func parseFrameInfo(b []byte) Frame {
	stored := binary.LittleEndian.Uint32(b[4:])
	return Frame{pack.Codec(stored >> 26), int64(binary.LittleEndian.Uint32(b)), int(stored & (1<<26 - 1)), int(binary.LittleEndian.Uint32(b[8:]))}
}

// A tableObject is an index object that a table covers: what it says of itself. Whether that counts is the log's to say.
type tableObject struct {
	name     store.Name
	signer   [32]byte
	instance string
	packs    uint32 // how many of the table's packs, which are in the objects' order
	blobs    uint64 // how many of its entries
}

func (o *tableObject) append(b []byte) []byte {
	b = append(b, o.name[:]...)
	b = append(b, o.signer[:]...)
	b = binary.LittleEndian.AppendUint32(b, o.packs)
	b = binary.LittleEndian.AppendUint64(b, o.blobs)
	b = append(b, byte(len(o.instance)))
	b = append(b, o.instance...)
	return append(b, make([]byte, MaxInstance-len(o.instance))...)
}

func parseTableObject(b []byte) (o tableObject) {
	copy(o.name[:], b)
	copy(o.signer[:], b[32:])
	o.packs = binary.LittleEndian.Uint32(b[64:])
	o.blobs = binary.LittleEndian.Uint64(b[68:])
	o.instance = string(b[77 : 77+int(b[76])])
	return o
}

// A Listing is what an index object says of a pack, without its frames and blobs.
type Listing struct {
	Name      store.Name
	Digest    [16]byte // of the pack's directory
	Size      int64    // stored bytes
	Header    int      // bytes of the age header and the nonce behind it
	Epoch     uint32
	Component pack.Component
	frames    uint32
	frame0    uint64 // the first one's number in the table
	blobs     uint32
	Total     int64  // bytes of plaintext
	Object    uint32 // in the table's objects; in Index.Objects once it is there
}

func (l *Listing) append(b []byte) []byte {
	b = append(b, l.Name[:]...)
	b = append(b, l.Digest[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(l.Size))
	b = binary.LittleEndian.AppendUint16(b, uint16(l.Header))
	b = binary.LittleEndian.AppendUint32(b, l.Epoch)
	b = append(b, byte(l.Component))
	b = binary.LittleEndian.AppendUint32(b, l.frames)
	b = binary.LittleEndian.AppendUint64(b, l.frame0)
	b = binary.LittleEndian.AppendUint32(b, l.blobs)
	b = binary.LittleEndian.AppendUint64(b, uint64(l.Total))
	return binary.LittleEndian.AppendUint32(b, l.Object)
}

func parseListing(b []byte) (l Listing) {
	copy(l.Name[:], b)
	copy(l.Digest[:], b[32:])
	l.Size = int64(binary.LittleEndian.Uint32(b[48:]))
	l.Header = int(binary.LittleEndian.Uint16(b[52:]))
	l.Epoch = binary.LittleEndian.Uint32(b[54:])
	l.Component = pack.Component(b[58])
	l.frames = binary.LittleEndian.Uint32(b[59:])
	l.frame0 = binary.LittleEndian.Uint64(b[63:])
	l.blobs = binary.LittleEndian.Uint32(b[71:])
	l.Total = int64(binary.LittleEndian.Uint64(b[75:]))
	l.Object = binary.LittleEndian.Uint32(b[83:])
	return l
}

// A table is a page file of sorted entries, and of what the index objects that it covers say of their packs. Sections
// follow each other: frames, entries, the first eight bytes of each page of entries, objects, listings.
type table struct {
	dir  *localdir.Dir // where it lies
	path string        // empty: nobody else's
	f    io.ReaderAt
	key  *[32]byte
	file uint64

	frames, entries, keys, objects, packs section

	proofs []atomic.Uint32 // a bit for each page that has been found to be what was written
	fan    []uint64        // of keys
	covers []tableObject   // of objects
}

// header is the payload of the first page.
func (t *table) header() []byte {
	b := []byte(tableMagic)
	for _, s := range t.sections() {
		b = binary.LittleEndian.AppendUint32(b, s.first)
		b = binary.LittleEndian.AppendUint64(b, uint64(s.n))
	}
	return b
}

func (t *table) sections() []*section {
	return []*section{&t.frames, &t.entries, &t.keys, &t.objects, &t.packs}
}

// openTable reads the header and the fan-out of a table of size bytes.
func openTable(path string, f io.ReaderAt, size int64, key *[32]byte) (*table, error) {
	t := &table{path: path, f: f, key: key}
	var p page
	if size < pageSize || size%pageSize != 0 || size/pageSize > math.MaxUint32 {
		return nil, errPage
	}
	if _, err := f.ReadAt(p.body(), 0); err != nil {
		return nil, fmt.Errorf("reading the local index: %w", err)
	}
	b := p.body()
	t.file = binary.LittleEndian.Uint64(b[pageFile:])
	if !p.verify(key, t.file, 0) || !bytes.HasPrefix(b, []byte(tableMagic)) {
		return nil, errPage
	}
	b = b[len(tableMagic):]
	end := int64(1)
	for i, s := range t.sections() {
		s.size = []int{frameSize, entrySize, keySize, objectSize, recordSize}[i]
		s.first = binary.LittleEndian.Uint32(b)
		n := binary.LittleEndian.Uint64(b[4:])
		if b = b[12:]; int64(s.first) != end || n > uint64(size) {
			return nil, errPage
		}
		s.n = int(n)
		end += int64(s.pages())
	}
	if end*pageSize != size || t.keys.n != t.entries.pages() {
		return nil, errPage
	}
	t.proofs = make([]atomic.Uint32, end/32+1)
	t.fan = make([]uint64, 0, t.keys.n)
	if err := t.each(t.keys, func(rec []byte) { t.fan = append(t.fan, binary.BigEndian.Uint64(rec)) }); err != nil {
		return nil, err
	}
	t.covers = make([]tableObject, 0, t.objects.n)
	if err := t.each(t.objects, func(rec []byte) { t.covers = append(t.covers, parseTableObject(rec)) }); err != nil {
		return nil, err
	}
	packs, blobs := uint64(0), uint64(0)
	for i := range t.covers {
		packs, blobs = packs+uint64(t.covers[i].packs), blobs+t.covers[i].blobs
	}
	if packs != uint64(t.packs.n) || blobs != uint64(t.entries.n) {
		return nil, errPage
	}
	return t, nil
}

// openTableFile opens a table in dir.
func openTableFile(dir *localdir.Dir, name string, key *[32]byte) (*table, error) {
	f, err := dir.OpenFile(name, os.O_RDONLY) // closed by the garbage collector, with the last index that uses it
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	var t *table
	if err == nil {
		t, err = openTable(dir.Path(name), f, info.Size(), key)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	t.dir = dir
	return t, nil
}

// verify reads all of the table.
func (t *table) verify() error {
	for _, s := range t.sections() {
		if err := t.each(*s, func([]byte) {}); err != nil {
			return err
		}
	}
	return nil
}

// read returns a reader of a section.
func (t *table) read(s section) *sectionReader { return newSectionReader(t.f, t.key, t.file, s) }

// each calls f with every record of a section.
func (t *table) each(s section, f func(rec []byte)) error {
	for r := t.read(s); ; {
		switch rec, err := r.read(); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		default:
			f(rec)
		}
	}
}

func (t *table) proven(page uint32) bool { return t.proofs[page/32].Load()>>(page%32)&1 != 0 }

func (t *table) prove(page uint32) { t.proofs[page/32].Or(1 << (page % 32)) }

// find calls f with the number and the bytes of each entry of a blob.
func (t *table) find(c *pageCache, id *chunk.ID, f func(n int, e []byte)) error {
	key := binary.BigEndian.Uint64(id[:])
	// The first page that begins with the ID's first bytes or higher, and the one before it, in which these may begin.
	i := sort.Search(len(t.fan), func(i int) bool { return t.fan[i] >= key })
	per := t.entries.perPage()
	for i = max(i-1, 0); i < len(t.fan) && t.fan[i] <= key; i++ {
		n := min(per, t.entries.n-i*per)
		err := c.use(t, t.entries.first+uint32(i), func(page []byte) {
			at := sort.Search(n, func(j int) bool { return bytes.Compare(page[j*entrySize:j*entrySize+chunk.Size], id[:]) >= 0 })
			for ; at < n && bytes.Equal(page[at*entrySize:at*entrySize+chunk.Size], id[:]); at++ {
				f(i*per+at, page[at*entrySize:(at+1)*entrySize])
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// record calls f with record i of a section.
func (t *table) record(c *pageCache, s section, i int, f func(rec []byte)) error {
	if i < 0 || i >= s.n {
		return errors.New("local index: no such record")
	}
	per := s.perPage()
	return c.use(t, s.first+uint32(i/per), func(page []byte) { f(page[i%per*s.size : (i%per+1)*s.size]) })
}
