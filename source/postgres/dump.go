package postgres

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"syscall"

	"permafrost/source"
	"permafrost/source/postgres/archive"
)

// DumpFacts describe a dump that was read to its end.
type DumpFacts struct {
	ArchiveVersion string         `json:"archive_version"` // of pg_dump's custom format
	Entries        int            `json:"toc_entries"`     // as `pg_restore --list` counts them; 0 where Note tells why
	Kinds          map[string]int `json:"toc_kinds,omitempty"`
	DumpVersion    string         `json:"pg_dump_version"`
	ServerVersion  string         `json:"server_version,omitempty"`
	Bytes          int64          `json:"bytes"`
	Note           string         `json:"note,omitempty"`

	// Tables are what the dump holds of each table, by schema.table, exactly: counted as it passed. Nil where Uncounted tells why.
	Tables       map[string]archive.Table `json:"tables,omitempty"`
	LargeObjects int64                    `json:"large_objects,omitempty"` // bytes
	Uncounted    string                   `json:"uncounted,omitempty"`
}

// A Dump is the stream of pg_dump's archive. Reading it returns io.EOF only where pg_dump exited with 0 and
// pg_restore has read all of it; otherwise it returns the error, then and ever after.
type Dump struct {
	facts  DumpFacts
	end    func() // ends what killing the child leaves
	dump   *child
	output *pipeEnd  // pg_dump's output
	r      io.Reader // the part that was read for its table of contents, then out
	db     source.Database
	proof  *proof
	count  *archive.Counter // nil where the data are not counted
	head   int64            // bytes of the dump before its data
	cancel context.CancelFunc
	ctx    context.Context

	mu    sync.Mutex // guards err between Read and Close
	err   error
	close sync.Once
}

// Dump starts pg_dump on the snapshot and returns once the table of contents is there. The whole database
// is dumped, as it is. When ctx ends, so does the dump.
func (snap *Snapshot) Dump(ctx context.Context) (*Dump, error) {
	d, err := snap.start(ctx)
	if err == nil {
		err = snap.s.watched(ctx, func(ctx context.Context) error {
			defer context.AfterFunc(ctx, d.cancel)()
			return d.readHead()
		})
		if err == nil {
			return d, nil
		}
		err = d.fail(err)
		d.Close()
	}
	return nil, fmt.Errorf("dumping the %v: %w", snap.s.db, err)
}

func (snap *Snapshot) start(ctx context.Context) (*Dump, error) {
	s := snap.s
	d := &Dump{db: s.db, end: s.endInside, facts: DumpFacts{DumpVersion: s.tools.version}}
	r, w, err := pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	d.ctx, d.cancel = context.WithCancel(ctx)
	d.dump, err = s.startDump(d.ctx, w, "--format=custom", "--compress=0", "--no-password",
		"--lock-wait-timeout="+strconv.FormatInt(s.dumpLockWait().Milliseconds(), 10), "--snapshot="+snap.ID)
	if err == nil {
		if d.proof, err = s.startProof(d.ctx); err != nil {
			d.dump.kill()
			d.end()
		}
	}
	if err != nil {
		d.cancel()
		r.Close()
		return nil, err
	}
	d.output = &pipeEnd{r, s.silence}
	d.r = d.output
	return d, nil
}

// readHead reads the dump as far as the end of its table of contents, and keeps that part for Read.
func (d *Dump) readHead() error {
	var head bytes.Buffer
	limited := &io.LimitedReader{R: d.output, N: archive.MaxHead}
	in := bufio.NewReaderSize(io.TeeReader(limited, &head), 64<<10)
	a, err := archive.Read(in)
	if err != nil && limited.N == 0 {
		a = archive.Archive{Version: a.Version, Dumper: a.Dumper, Server: a.Server}
		a.Note, err = fmt.Sprintf("its table of contents takes more than %d MiB and was not read", archive.MaxHead>>20), nil
	}
	d.r = io.MultiReader(&head, d.output)
	d.facts.ArchiveVersion, d.facts.ServerVersion, d.facts.Note = a.Version, a.Server, a.Note
	if a.Note == "" {
		d.facts.Entries, d.facts.Kinds = a.Entries, a.Kinds
	}
	d.head = int64(head.Len() - in.Buffered())
	var uncounted error
	if d.count, uncounted = a.Counter(d.head); uncounted != nil {
		d.facts.Uncounted = uncounted.Error()
	}
	return err
}

// counted counts the next bytes of the dump, which begin at off.
func (d *Dump) counted(p []byte, off int64) {
	if d.count == nil {
		return
	}
	if before := d.head - off; before > 0 {
		p = p[min(before, int64(len(p))):]
	}
	d.count.Count(p)
}

// Read implements io.Reader.
func (d *Dump) Read(p []byte) (int, error) {
	d.mu.Lock()
	err := d.err
	d.mu.Unlock()
	if err != nil || len(p) == 0 {
		return 0, err
	}
	n, err := d.r.Read(p)
	d.counted(p[:n], d.facts.Bytes)
	d.facts.Bytes += int64(n)
	if n > 0 {
		if perr := d.proof.write(p[:n]); perr != nil {
			return 0, d.fail(perr)
		}
		err = nil // it comes again
	}
	if err == io.EOF {
		return 0, d.finish()
	}
	if err != nil {
		return 0, d.fail(err)
	}
	return n, nil
}

// finish tells whether the dump that has ended is whole: io.EOF if it is.
func (d *Dump) finish() error {
	if err := d.dump.wait(); err != nil {
		return d.fail(err)
	}
	if err := d.proof.finish(); err != nil {
		return d.fail(err)
	}
	if d.count != nil {
		var err error
		if d.facts.Tables, d.facts.LargeObjects, err = d.count.Counted(); err != nil {
			d.facts.Uncounted = err.Error()
		}
	}
	return d.setError(io.EOF)
}

// fail makes err, or what stands behind it, the result of every further Read, and ends both children.
func (d *Dump) fail(err error) error {
	// A pg_dump that died is the reason for whatever else went wrong; one that had to be killed is not. Its
	// output having ended, it is about to exit by itself.
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		if derr := d.dump.wait(); derr != nil {
			err = derr
		}
	}
	var halted *haltedError
	if errors.As(err, &halted) {
		err = source.Because(CauseHalted, halted)
	}
	if cerr := d.ctx.Err(); cerr != nil && !isLock(err) {
		err = cerr
	}
	d.cancel()
	return d.setError(explainDump(err, d.db))
}

// setError keeps the first error.
func (d *Dump) setError(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = err
	}
	return d.err
}

// Facts describes the dump. They are whole once Read has returned io.EOF.
func (d *Dump) Facts() DumpFacts { return d.facts }

// Close ends pg_dump and pg_restore, wherever they are. It may be called at any time, also while a Read is
// under way, which then fails.
func (d *Dump) Close() error {
	whole := d.setError(errClosed) == io.EOF
	d.close.Do(func() {
		d.cancel()
		d.output.Close()
		d.dump.kill()
		d.proof.kill()
		if !whole {
			d.end()
		}
	})
	return nil
}

// A proof is a pg_restore that reads the dump too.
type proof struct {
	restore *child
	input   *pipeEnd
	closed  bool // pg_restore takes no more
}

func (s *Server) startProof(ctx context.Context) (*proof, error) {
	r, w, err := pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	c, err := s.startRestore(ctx, r, "--format=custom", "--file=/dev/null")
	if err != nil {
		w.Close()
		return nil, err
	}
	return &proof{restore: c, input: &pipeEnd{w, s.silence}}, nil
}

// write hands pg_restore the next bytes. A pg_restore that has ended before the dump has is an error.
func (p *proof) write(b []byte) error {
	if p.closed {
		return nil
	}
	_, err := p.input.Write(b)
	if !errors.Is(err, syscall.EPIPE) {
		return err
	}
	p.closed = true
	if err := p.wait(); err != nil {
		return err
	}
	return errors.New("pg_restore ended before the dump did, without a reason")
}

// finish tells pg_restore that the dump has ended and returns its verdict.
func (p *proof) finish() error {
	p.input.Close()
	return p.wait()
}

func (p *proof) wait() error {
	if err := p.restore.wait(); err != nil {
		return fmt.Errorf("the dump is not sound: %w", err)
	}
	return nil
}

func (p *proof) kill() {
	p.restore.kill()
	p.input.Close()
}
