package machine

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"math"
	"os"

	"permafrost/internal/wire"
	"permafrost/repo/internal/pack"
	"permafrost/repo/store"
)

// A Journal holds the packs that a run uploaded and that no index object covers yet. A host that can't read its own packs could
// not find out otherwise what is in them, and would upload all again after a crash. It also spares a run to hold them in
// memory. It is for one goroutine at a time.
type Journal struct {
	f       *os.File
	kept    []*pack.Pack // where there is no file
	passing bool         // nobody looks for it after a crash
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Journal returns the journal of an instance, and what an interrupted run left in it. It fails with a FileError where its file is
// none.
func (m *Memory) Journal(instance string) (*Journal, []*pack.Pack, error) {
	if m.state == nil {
		return &Journal{}, nil, nil
	}
	name := "journal-" + fileName(instance)
	f, err := m.state.OpenFile(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, nil, m.unusable(name, "opening the journal of packs", err, "the next run then stores again what an interrupted run had stored")
	}
	var left []*pack.Pack
	end := int64(0)
	for r, err := range readJournal(f) {
		if err != nil {
			f.Close()
			return nil, nil, err
		}
		left, end = append(left, r.pack), r.end
	}
	// Whatever lies behind the last whole record was being written when the run died.
	err = f.Truncate(end)
	if err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("opening the journal of packs: %w", err)
	}
	return &Journal{f: f}, left, nil
}

// Spool returns a journal that nobody finds again: on disk, where there is a place for it.
func (m *Memory) Spool() (*Journal, error) {
	if m.state == nil {
		return &Journal{}, nil
	}
	f, err := m.state.Scratch()
	if err != nil {
		return nil, fmt.Errorf("making a temporary file: %w", err)
	}
	return &Journal{f: f, passing: true}, nil
}

// A record is a pack in the journal, and where the next begins.
type record struct {
	pack *pack.Pack
	end  int64
}

// readJournal yields the records up to the first that is not whole.
func readJournal(f io.ReaderAt) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		r := bufio.NewReader(io.NewSectionReader(f, 0, math.MaxInt64))
		for end := int64(0); ; {
			p, n, err := readRecord(r)
			if err != nil {
				yield(record{}, fmt.Errorf("reading the journal of packs: %w", err))
				return
			}
			end += n
			if p == nil || !yield(record{p, end}, nil) {
				return
			}
		}
	}
}

// readRecord returns a pack and the length of its record: none where the record is not whole.
func readRecord(r io.Reader) (*pack.Pack, int64, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, 0, unlessShort(err)
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > store.MaxObject {
		return nil, 0, nil
	}
	var rec bytes.Buffer // grows with what is there, not with what the head says
	if _, err := io.CopyN(&rec, r, int64(n)); err != nil {
		return nil, 0, unlessShort(err)
	}
	if crc32.Checksum(rec.Bytes(), castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, 0, nil
	}
	w := wire.NewReader(rec.Bytes())
	p := pack.Parse(w)
	if w.Close() != nil {
		return nil, 0, nil
	}
	return p, int64(len(head)) + int64(n), nil
}

// unlessShort is nil for the end of a file, and an error of reading otherwise.
func unlessShort(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}

// all yields every pack.
func (j *Journal) all() iter.Seq2[*pack.Pack, error] {
	return func(yield func(*pack.Pack, error) bool) {
		for _, p := range j.kept {
			if !yield(p, nil) {
				return
			}
		}
		if j.f == nil {
			return
		}
		for r, err := range readJournal(j.f) {
			if !yield(r.pack, err) || err != nil {
				return
			}
		}
	}
}

// Packs yields the packs of the given names.
func (j *Journal) Packs(names []store.Name) iter.Seq2[*pack.Pack, error] {
	return func(yield func(*pack.Pack, error) bool) {
		want := make(map[store.Name]bool, len(names))
		for _, n := range names {
			want[n] = true
		}
		for p, err := range j.all() {
			if err != nil {
				yield(nil, err)
				return
			}
			if !want[p.Name] {
				continue // gone from the store, or in an index by now
			}
			delete(want, p.Name)
			if !yield(p, nil) {
				return
			}
		}
		if len(want) > 0 {
			yield(nil, fmt.Errorf("the journal of packs is damaged: %d are missing in it", len(want)))
		}
	}
}

// Add makes a pack's record durable.
func (j *Journal) Add(p *pack.Pack) error {
	if j.f == nil {
		j.kept = append(j.kept, p)
		return nil
	}
	_, err := j.f.Write(newRecord(p))
	if err == nil && !j.passing {
		err = j.f.Sync()
	}
	if err != nil {
		return fmt.Errorf("writing the journal of packs: %w", err)
	}
	return nil
}

// newRecord returns what readRecord reads.
func newRecord(p *pack.Pack) []byte {
	rec := p.Append(make([]byte, 8, 4096))
	binary.LittleEndian.PutUint32(rec, uint32(len(rec)-8))
	binary.LittleEndian.PutUint32(rec[4:], crc32.Checksum(rec[8:], castagnoli))
	return rec
}

// Clear empties the journal: an index that the log names covers all of it.
func (j *Journal) Clear() error {
	if j.f == nil {
		return nil
	}
	if err := j.f.Truncate(0); err != nil {
		return fmt.Errorf("clearing the journal of packs: %w", err)
	}
	_, err := j.f.Seek(0, io.SeekStart)
	return err
}

// Close ends the use of the journal, and keeps what is in it.
func (j *Journal) Close() {
	if j.f != nil {
		j.f.Close()
	}
}
