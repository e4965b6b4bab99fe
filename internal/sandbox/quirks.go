package sandbox

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"

	"github.com/pkg/sftp"
)

// A Quirk is something that a server of SFTP does otherwise than others. Each is seen in the field.
type Quirk string

// What a server may answer yes to, and not do.
const (
	LinkLies       Quirk = "link lies"
	RenameLies     Quirk = "rename lies"
	RenameFreeLies Quirk = "rename to a free name lies" // and to one that is taken it refuses
	WriteLies      Quirk = "write lies"                 // half of each file is kept
	RemoveLies     Quirk = "remove lies"
	MkdirLies      Quirk = "mkdir lies"
)

// What else a server may do.
const (
	NoLinks          Quirk = "no links"
	RenameOverwrites Quirk = "rename overwrites"
	UntypedLists     Quirk = "listing without types"
	StatFails        Quirk = "stat answers failure" // of what is not there, and of everything else
	StatOfNoneFails  Quirk = "stat of nothing answers failure"
	VisibleAtClose   Quirk = "visible at close"
	EndlessRead      Quirk = "read without end"
	OneChannel       Quirk = "one channel only" // a connection
	Cuts             Quirk = "cut each 3 s"
)

// Quirks are what one server does. What it has no quirk for it does as it should, with the operating system's files.
type Quirks struct {
	has  map[Quirk]bool
	rate float64 // share of the operations that are answered yes and not done

	lies   atomic.Int64
	mu     sync.Mutex
	random *rand.Rand // guarded by mu
}

// NewQuirks returns what a server with these quirks does.
func NewQuirks(quirks ...Quirk) *Quirks {
	q := &Quirks{has: make(map[Quirk]bool)}
	for _, quirk := range quirks {
		q.has[quirk] = true
	}
	return q
}

// NewLies returns what a server does that answers yes to a share of all operations but stat and read, by chance, and does
// nothing.
func NewLies(rate float64, seed uint64) *Quirks {
	return &Quirks{rate: rate, random: rand.New(rand.NewPCG(seed, 1))}
}

// Lies returns how often a server of NewLies has lied.
func (q *Quirks) Lies() int64 { return q.lies.Load() }

// lie decides whether an operation is not done.
func (q *Quirks) lie() bool {
	if q.random == nil {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.random.Float64() >= q.rate {
		return false
	}
	q.lies.Add(1)
	return true
}

// Serve answers one client until it leaves.
func (q *Quirks) Serve(rwc io.ReadWriteCloser) error {
	err := sftp.NewRequestServer(rwc, sftp.Handlers{FileGet: q, FilePut: q, FileCmd: q, FileList: q}).Serve()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Fileread implements sftp.FileReader.
func (q *Quirks) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	if q.has[EndlessRead] {
		return nothing{}, nil
	}
	return os.Open(r.Filepath)
}

// nothing answers each read with nothing, and never with an end.
type nothing struct{}

func (nothing) ReadAt([]byte, int64) (int, error) { return 0, nil }

// Filewrite implements sftp.FileWriter.
func (q *Quirks) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	flags := os.O_WRONLY | os.O_CREATE
	if r.Pflags().Excl {
		flags |= os.O_EXCL
	}
	path := r.Filepath
	if q.has[VisibleAtClose] {
		path += ".hidden"
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	return &quirkFile{f, q, r.Filepath}, nil
}

// A quirkFile is a file that is written.
type quirkFile struct {
	*os.File
	quirks *Quirks
	name   string
}

// WriteAt implements io.WriterAt.
func (f *quirkFile) WriteAt(p []byte, off int64) (int, error) {
	switch {
	case f.quirks.lie(), f.quirks.has[WriteLies] && off > 0:
		return len(p), nil
	case f.quirks.has[WriteLies]:
		_, err := f.File.WriteAt(p[:len(p)/2], off)
		return len(p), err
	}
	return f.File.WriteAt(p, off)
}

// Close implements io.Closer.
func (f *quirkFile) Close() error {
	if err := f.File.Close(); err != nil || f.File.Name() == f.name {
		return err
	}
	return os.Rename(f.File.Name(), f.name)
}

// Filecmd implements sftp.FileCmder.
func (q *Quirks) Filecmd(r *sftp.Request) error {
	if q.lie() {
		return nil
	}
	switch r.Method {
	case "Rename":
		return q.rename(r.Filepath, r.Target)
	case "Link":
		switch {
		case q.has[NoLinks]:
			return sftp.ErrSSHFxOpUnsupported
		case q.has[LinkLies]:
			return nil
		}
		return os.Link(r.Filepath, r.Target)
	case "Remove":
		if q.has[RemoveLies] {
			return nil
		}
		return os.Remove(r.Filepath)
	case "Mkdir":
		if q.has[MkdirLies] {
			return nil
		}
		return os.Mkdir(r.Filepath, 0o700)
	}
	return sftp.ErrSSHFxOpUnsupported
}

func (q *Quirks) rename(from, to string) error {
	switch {
	case q.has[RenameLies]:
		return nil
	case q.has[RenameFreeLies]:
		if _, err := os.Lstat(to); err != nil {
			return nil
		}
		return sftp.ErrSSHFxFailure
	case q.has[RenameOverwrites]:
		return os.Rename(from, to)
	}
	if err := os.Link(from, to); err != nil {
		return err
	}
	return os.Remove(from)
}

// Filelist implements sftp.FileLister.
func (q *Quirks) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	if r.Method == "Stat" {
		info, err := os.Stat(r.Filepath)
		if q.has[StatFails] || q.has[StatOfNoneFails] && errors.Is(err, fs.ErrNotExist) {
			return nil, sftp.ErrSSHFxFailure
		}
		return infos{info}, err
	}
	entries, err := os.ReadDir(r.Filepath)
	var all infos
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // it was removed meanwhile
		}
		if q.has[UntypedLists] {
			info = untyped{info}
		}
		all = append(all, info)
	}
	return all, err
}

// untyped is a file of which it is not told what it is.
type untyped struct{ fs.FileInfo }

func (u untyped) Mode() fs.FileMode { return fs.ModeIrregular }
func (u untyped) Sys() any          { return nil }

type infos []fs.FileInfo

// ListAt implements sftp.ListerAt.
func (l infos) ListAt(to []fs.FileInfo, off int64) (int, error) {
	n := copy(to, l[min(off, int64(len(l))):])
	if n < len(to) {
		return n, io.EOF
	}
	return n, nil
}
