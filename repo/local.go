package repo

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"iter"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/internal/durable"
	"permafrost/internal/wire"
)

// local is what this machine keeps of one repository.
//
// state must not be lost lightly: the newest log entry seen ("head"), the pinned fingerprint, a copy of keys/, and
// the journal of packs that no index covers yet. cache is disposable: copies of immutable objects. An empty
// directory name keeps nothing.
type local struct {
	state    string
	cacheDir string

	mu      sync.Mutex
	refused map[string]bool // tables that are not to be opened, though they could not be removed
}

// newLocal makes the directories for the repository id below the given ones.
func newLocal(stateDir, cacheDir string, id Name) (*local, error) {
	l := new(local)
	for _, d := range []struct {
		base string
		dst  *string
	}{{stateDir, &l.state}, {cacheDir, &l.cacheDir}} {
		if d.base == "" {
			continue
		}
		dir := filepath.Join(d.base, id.String()[:16])
		err := os.MkdirAll(dir, 0o700)
		if err != nil && d.dst == &l.cacheDir {
			continue // it is only slower without
		}
		if err != nil {
			return nil, fmt.Errorf("making a local directory: %w", err)
		}
		*d.dst = dir
	}
	return l, nil
}

// cached returns the copy of an object. Whoever asks verifies it.
func (l *local) cached(object string) ([]byte, bool) {
	if l.cacheDir == "" {
		return nil, false
	}
	data, err := os.ReadFile(filepath.Join(l.cacheDir, filepath.FromSlash(object)))
	return data, err == nil && len(data) > 0
}

// cache keeps a copy of an object. A failure costs a download later and nothing else.
func (l *local) cache(object string, data []byte) {
	if l.cacheDir == "" {
		return
	}
	path := filepath.Join(l.cacheDir, filepath.FromSlash(object))
	if os.MkdirAll(filepath.Dir(path), 0o700) != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
}

// dropCached removes copies of objects that are no more.
func (l *local) dropCached(object string) {
	if l.cacheDir != "" {
		os.Remove(filepath.Join(l.cacheDir, filepath.FromSlash(object)))
	}
}

// tables returns the directory of the index's tables, or "" where none can be kept.
func (l *local) tables() string {
	if l.cacheDir == "" {
		return ""
	}
	dir := filepath.Join(l.cacheDir, "tables")
	if os.MkdirAll(dir, 0o700) != nil {
		return ""
	}
	return dir
}

// openTables opens the tables in dir, and removes what is none; damaged hears of that.
func (l *local) openTables(dir string, key *[32]byte, damaged func()) (tables []*table) {
	if dir == "" {
		return nil
	}
	for range 8 { // another process may merge tables, and remove what it merged, meanwhile
		again := false
		tables = nil
		entries, _ := os.ReadDir(dir) // what can't be read is not there
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if strings.HasPrefix(e.Name(), ".tmp-") {
				if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > staleTemp {
					os.Remove(path)
				}
				continue
			}
			if l.isRefused(path) {
				continue
			}
			t, err := openTableFile(path, key)
			switch {
			case err == nil:
				tables = append(tables, t)
			case errors.Is(err, fs.ErrNotExist):
				again = true
			default:
				l.dropTable(&table{path: path})
				damaged()
			}
		}
		if !again {
			break
		}
	}
	return tables
}

// dropTable removes a table. Whoever has it open reads on.
func (l *local) dropTable(t *table) {
	if t.path == "" {
		return
	}
	if err := os.Remove(t.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.refused == nil {
			l.refused = make(map[string]bool)
		}
		l.refused[t.path] = true
	}
}

func (l *local) isRefused(path string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused[path]
}

// stateFile returns a file of the state directory, or nil where there is none.
func (l *local) stateFile(name string) ([]byte, error) {
	if l.state == "" {
		return nil, nil
	}
	data, err := os.ReadFile(filepath.Join(l.state, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

func (l *local) writeStateFile(name string, data []byte) error {
	if l.state == "" {
		return nil
	}
	path := filepath.Join(l.state, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(path, data, 0o600)
}

// head returns the newest log entry that this machine has seen, if it has seen any.
func (l *local) head() (*Head, error) {
	data, err := l.stateFile("head")
	if err != nil || data == nil {
		return nil, err
	}
	h := new(Head)
	if err := json.Unmarshal(data, h); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(l.state, "head"), err)
	}
	return h, nil
}

func (l *local) rememberHead(h Head) error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := l.writeStateFile("head", append(data, '\n')); err != nil {
		return fmt.Errorf("remembering the newest log entry: %w", err)
	}
	return nil
}

// fileName makes an instance's name fit for a file's.
func fileName(instance string) string {
	if len(instance) > 200 || strings.ContainsAny(instance, "/\x00") {
		return hashName([]byte(instance)).String()
	}
	return instance
}

// lock keeps two snapshots of one instance on this machine apart. The lock goes with the process.
func (l *local) lock(instance string) (unlock func(), err error) {
	if l.state == "" {
		return func() {}, nil
	}
	f, err := os.OpenFile(filepath.Join(l.state, "lock-"+fileName(instance)), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &LockedError{"another snapshot of " + instance + " runs on this machine"}
		}
		return nil, fmt.Errorf("locking: %w", err)
	}
	return func() { f.Close() }, nil
}

// A journal holds the packs that a run uploaded and that no index object covers yet, one record each: length,
// CRC-32C, and the pack as an index object has it. A host that can't read its own packs could not find out
// otherwise what is in them, and would upload all again after a crash. It also spares a run to hold them in memory.
type journal struct {
	f       *os.File
	kept    []*pack // where there is no file
	passing bool    // nobody looks for it after a crash
}

// staleTemp is the age at which a temporary file of a process that died is removed.
const staleTemp = 24 * time.Hour

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openJournal returns the journal of an instance, and what an interrupted run left in it.
func (l *local) openJournal(instance string) (*journal, []*pack, error) {
	if l.state == "" {
		return &journal{}, nil, nil
	}
	f, err := os.OpenFile(filepath.Join(l.state, "journal-"+fileName(instance)), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the journal of packs: %w", err)
	}
	var left []*pack
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
	return &journal{f: f}, left, nil
}

// spool returns a journal that nobody finds again: on disk, where there is a place for it.
func (l *local) spool() (*journal, error) {
	if l.state == "" {
		return &journal{}, nil
	}
	f, err := os.CreateTemp(l.state, "spool-*")
	if err != nil {
		return nil, fmt.Errorf("making a temporary file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("making a temporary file: %w", err)
	}
	return &journal{f: f, passing: true}, nil
}

// A record is a pack in the journal, and where the next begins.
type record struct {
	pack *pack
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
func readRecord(r io.Reader) (*pack, int64, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, 0, unlessShort(err)
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > MaxObject {
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
	p := parsePack(w)
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
func (j *journal) all() iter.Seq2[*pack, error] {
	if j.f == nil {
		return eachPack(j.kept)
	}
	return func(yield func(*pack, error) bool) {
		for r, err := range readJournal(j.f) {
			if !yield(r.pack, err) || err != nil {
				return
			}
		}
	}
}

// packs yields the packs of the given names.
func (j *journal) packs(names []Name) iter.Seq2[*pack, error] {
	return func(yield func(*pack, error) bool) {
		want := make(map[Name]bool, len(names))
		for _, n := range names {
			want[n] = true
		}
		for p, err := range j.all() {
			if err != nil {
				yield(nil, err)
				return
			}
			if !want[p.name] {
				continue // gone from the store, or in an index by now
			}
			delete(want, p.name)
			if !yield(p, nil) {
				return
			}
		}
		if len(want) > 0 {
			yield(nil, fmt.Errorf("the journal of packs is damaged: %d are missing in it", len(want)))
		}
	}
}

// add makes a pack's record durable.
func (j *journal) add(p *pack) error {
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
func newRecord(p *pack) []byte {
	rec := p.append(make([]byte, 8, 4096))
	binary.LittleEndian.PutUint32(rec, uint32(len(rec)-8))
	binary.LittleEndian.PutUint32(rec[4:], crc32.Checksum(rec[8:], castagnoli))
	return rec
}

// clear empties the journal: an index that the log names covers all of it.
func (j *journal) clear() error {
	if j.f == nil {
		return nil
	}
	if err := j.f.Truncate(0); err != nil {
		return fmt.Errorf("clearing the journal of packs: %w", err)
	}
	_, err := j.f.Seek(0, io.SeekStart)
	return err
}

func (j *journal) close() {
	if j.f != nil {
		j.f.Close()
	}
}
