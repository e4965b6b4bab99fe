package sandbox

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// table is a table's name, the columns that are filled, and who fills them:
// for the statuses from (included) to (excluded), or for the whole instance
// where the table does not grow with them.
type table struct {
	name    string
	columns string
	rows    func(w *world, r *rows, from, to int)
}

// rows writes the text format of COPY: each method one column, end the row.
type rows struct {
	w   *bufio.Writer
	buf []byte
}

func (r *rows) int(v int64) {
	r.buf = append(strconv.AppendInt(r.buf, v, 10), '\t')
}

func (r *rows) ints(vs ...int64) {
	for _, v := range vs {
		r.int(v)
	}
}

func (r *rows) null() { r.buf = append(r.buf, '\\', 'N', '\t') }

func (r *rows) bool(v bool) {
	if v {
		r.buf = append(r.buf, 't', '\t')
	} else {
		r.buf = append(r.buf, 'f', '\t')
	}
}

func (r *rows) time(t time.Time) {
	r.buf = append(t.AppendFormat(r.buf, "2006-01-02 15:04:05.999999"), '\t')
}

// times writes created_at and updated_at.
func (r *rows) times(t time.Time) {
	r.time(t)
	r.time(t)
}

func (r *rows) text(s string) {
	for i := range len(s) {
		switch c := s[i]; c {
		case '\\', '\t':
			r.buf = append(r.buf, '\\', c)
		case '\n':
			r.buf = append(r.buf, '\\', 'n')
		default:
			r.buf = append(r.buf, c)
		}
	}
	r.buf = append(r.buf, '\t')
}

// prose writes the parts before and after n bytes of text that need no
// escape, and the text between.
func (r *rows) prose(random *rng, before string, n int, after string) {
	r.buf = append(r.buf, before...)
	r.buf = random.prose(r.buf, n)
	r.buf = append(r.buf, after...)
	r.buf = append(r.buf, '\t')
}

func (r *rows) texts(ss ...string) {
	for _, s := range ss {
		r.text(s)
	}
}

func (r *rows) end() {
	r.buf[len(r.buf)-1] = '\n'
	r.w.Write(r.buf) // a failure is the Flush's, too
	r.buf = r.buf[:0]
}

// copyRows fills t for the statuses from (included) to (excluded).
func (p *Postgres) copyRows(ctx context.Context, db string, w *world, t table, from, to int) error {
	columns := strings.Join(strings.Fields(t.columns), ", ")
	cmd := p.Command(ctx, "psql", "-X", "-q", "-d", db, "-c", "COPY "+t.name+" ("+columns+") FROM STDIN")
	in, out := io.Pipe()
	var said strings.Builder
	cmd.Stdin, cmd.Stderr = in, &said
	go func() {
		r := &rows{w: bufio.NewWriterSize(out, 1<<18)}
		t.rows(w, r, from, to)
		out.CloseWithError(r.w.Flush())
	}()
	err := cmd.Run()
	in.CloseWithError(io.ErrClosedPipe)
	if err != nil || said.Len() > 0 {
		return fmt.Errorf("filling %s: %v: %s", t.name, err, strings.TrimSpace(said.String()))
	}
	return nil
}
