package console

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"permafrost/internal/keeper"
	"permafrost/internal/units"
)

// statusEvery is how often a line of JSON tells how far a command is.
const statusEvery = time.Second

// A Progress tells how far a command is, by component: drawn as bars on a terminal, as lines of type "status" in
// JSON, and not at all elsewhere. Its methods may be called from several goroutines at once.
type Progress struct {
	console *Console
	bars    *mpb.Progress // nil unless bars are drawn
	stderr  io.Writer     // what took standard error before the bars
	stop    chan struct{} // closed by Close; nil unless status lines are written
	stopped sync.WaitGroup

	mu    sync.Mutex
	parts []*part
}

// A part is one component's progress.
type part struct {
	name    string
	start   time.Time
	files   atomic.Int64 // done; stays 0 where there are none to count
	bytes   atomic.Int64 // done
	total   atomic.Int64 // bytes; 0: not known
	guessed atomic.Bool  // the total is a guess
	ended   atomic.Bool
	bar     *mpb.Bar

	traffic func() (sent, packed int64) // what is asked how far it is; nil for a part that is told
}

// NewProgress begins to tell. Close ends it.
func NewProgress(c *Console) *Progress {
	p := &Progress{console: c}
	switch {
	case c.draws():
		p.bars = mpb.New(mpb.WithOutput(c.err), mpb.WithAutoRefresh(), mpb.WithRefreshRate(150*time.Millisecond))
		p.stderr = c.redirect(p.bars)
	case c.InJSON && !c.Quiet:
		p.stop = make(chan struct{})
		p.stopped.Go(p.writeStatus)
	}
	return p
}

// part returns the part of a phase, which the first call adds, and the first one after its end.
func (p *Progress) part(h *keeper.Phase) *part {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.parts, func(q *part) bool { return q.name == h.Name && !q.ended.Load() })
	if i >= 0 {
		return p.parts[i]
	}
	q := &part{name: h.Name, start: time.Now(), traffic: h.Traffic}
	p.add(q)
	return q
}

// add adds a part, and a bar for it where bars are drawn. It is for who holds p.mu.
func (p *Progress) add(q *part) {
	p.parts = append(p.parts, q)
	if p.bars == nil {
		return
	}
	gauge := mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]").Build()
	q.bar = p.bars.MustAdd(0, mpb.BarFillerFunc(func(w io.Writer, s decor.Statistics) error {
		if s.Total = q.total.Load(); s.Total <= 0 {
			return nil
		}
		s.Current = min(q.bytes.Load(), s.Total)
		return gauge.Fill(w, s)
	}),
		mpb.BarWidth(24), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(q.name, decor.WC{W: 9, C: decor.DindentRight})),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return q.line(time.Now()) })))
}

// Phase says how far a phase is. The bar of one that has ended goes; its last status line stays to be written.
func (p *Progress) Phase(h keeper.Phase) {
	q := p.part(&h)
	q.files.Store(h.Files)
	q.guessed.Store(h.About)
	q.ended.Store(h.Ended)
	if q.traffic == nil {
		q.bytes.Store(h.Done)
		q.total.Store(h.Total)
	}
	if q.bar == nil {
		return
	}
	if h.Ended {
		q.bar.Abort(true)
		return
	}
	q.bar.SetTotal(h.Total, false)
	q.bar.SetCurrent(h.Done)
}

// Close takes the bars off the terminal.
func (p *Progress) Close() {
	if p.stop != nil {
		close(p.stop)
		p.stopped.Wait()
		p.stop = nil
	}
	if p.bars != nil {
		p.mu.Lock()
		for _, q := range p.parts {
			q.bar.Abort(true)
		}
		p.mu.Unlock()
		p.bars.Wait()
		p.console.redirect(p.stderr)
		p.bars = nil
	}
}

// ask asks a part that is not told how far it is.
func (q *part) ask() {
	if q.traffic == nil {
		return
	}
	sent, packed := q.traffic()
	q.bytes.Store(sent)
	q.total.Store(packed)
}

// line describes the part behind its bar: "1.20 GiB of 6.70 GiB, 12,345 files, 98.2 MiB/s, 1m02s left". What goes to the
// storage is described as "1.20 GiB stored, 34.0 MiB to send, 9.10 MiB/s, 4s left".
func (q *part) line(now time.Time) string {
	q.ask()
	done, total, files := q.bytes.Load(), q.total.Load(), q.files.Load()
	elapsed := now.Sub(q.start)
	switch nothing := done == 0 && total == 0; {
	case nothing && q.traffic != nil:
		return " nothing to send yet"
	case nothing && elapsed < time.Second:
		return " working"
	case nothing:
		return " working, " + units.Duration(elapsed)
	}
	line := " " + units.Bytes(done)
	if q.traffic != nil {
		line += " stored, " + units.Bytes(total-done) + " to send"
	} else if total > 0 {
		line += map[bool]string{true: " of about ", false: " of "}[q.guessed.Load()] + units.Bytes(total)
	}
	if files > 0 {
		line += ", " + units.Plural(files, "file", "files")
	}
	if elapsed < time.Second || done == 0 {
		return line
	}
	rate := float64(done) / elapsed.Seconds()
	line += fmt.Sprintf(", %v/s", units.Bytes(int64(rate)))
	if left := total - done; left > 0 {
		line += ", " + units.Duration(time.Duration(float64(left)/rate*float64(time.Second))) + " left"
	}
	return line
}

// writeStatus writes, each statusEvery, how far the parts are.
func (p *Progress) writeStatus() {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	written := make(map[*part]keeper.Status)
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			p.writeParts(written)
		}
	}
}

// writeParts writes a line for each part that has moved since the one in written.
func (p *Progress) writeParts(written map[*part]keeper.Status) {
	p.mu.Lock()
	parts := slices.Clone(p.parts)
	p.mu.Unlock()
	for _, q := range parts {
		q.ask()
		s := keeper.Status{Component: q.name, Files: q.files.Load(), Bytes: q.bytes.Load(), Total: q.total.Load()}
		if last, ok := written[q]; ok && last == s {
			continue
		}
		written[q] = s
		s.Seconds = keeper.Seconds(time.Since(q.start))
		p.console.JSON(s)
	}
}
