package archive

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"permafrost/source/postgres/quote"
)

// Offsets of data, as an archive's entries have them: a byte that says what follows.
const (
	offsetUnknown = 1 // the data are found by reading all before them
	offsetKnown   = 2
)

// TOC returns a dump's beginning, up to the end of its table of contents: an archive by itself, without data. It serves
// `pg_restore --section=pre-data` and `--section=post-data`, also with several jobs, where the whole dump need not be at hand.
// The dump is in pg_dump's custom format; it is read no further than its data, but for what a buffer takes, and no more than
// MaxHead of it.
//
// No data are where the archive says they are, so that it says of none where it is. Followed by the data, the archive is whole
// again for a pg_restore that reads it from a pipe.
func TOC(r io.Reader) ([]byte, error) {
	var head bytes.Buffer
	limited := &io.LimitedReader{R: r, N: MaxHead}
	var offsets []int
	d := &reader{r: bufio.NewReader(io.TeeReader(limited, &head)), visit: func(e *Entry) { offsets = append(offsets, e.offset) }}
	a, err := d.read()
	switch {
	case err != nil && limited.N == 0:
		return nil, fmt.Errorf("the dump's table of contents takes more than %d MiB", MaxHead>>20)
	case err != nil:
		return nil, err
	case a.Note != "":
		return nil, errors.New(a.Note)
	}
	toc := head.Bytes()[:d.pos]
	for _, at := range offsets {
		if toc[at] == offsetKnown {
			clear(toc[at+1 : at+1+d.offSize])
			toc[at] = offsetUnknown
		}
	}
	return slices.Clone(toc), nil
}

// WithOffsets returns a table of contents, as TOC returns it, that says where the data of tables are, as pg_dump writes it to a file. The
// second result is whether it says so of all of them. pg_restore with several jobs then reads no data twice, and begins with the largest
// tables and their indexes.
func WithOffsets(toc []byte, tables map[string]Table) ([]byte, bool) {
	toc, all := slices.Clone(toc), true
	d := &reader{r: bufio.NewReader(bytes.NewReader(toc))}
	d.visit = func(e *Entry) {
		if !e.data || e.Kind != "TABLE DATA" {
			return
		}
		t := tables[quote.TableName(e.Schema, e.Tag)]
		if t.Offset < int64(len(toc)) || d.offSize > 8 {
			all = false
			return
		}
		toc[e.offset] = offsetKnown
		for i := range d.offSize {
			toc[e.offset+1+i] = byte(t.Offset >> (8 * i))
		}
	}
	_, err := d.read()
	return toc, all && err == nil
}
