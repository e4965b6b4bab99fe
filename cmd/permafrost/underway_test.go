package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"permafrost/internal/sandbox/compare"
)

// A running is a command that was started and may be under way.
type running struct {
	t         *testing.T
	c         *command
	out, errs bytes.Buffer
	ended     chan struct{} // closed then; the rest is to be read only after that
}

func start(t *testing.T, c *command) *running {
	t.Helper()
	r := &running{t: t, c: c, ended: make(chan struct{})}
	c.Stdout, c.Stderr = &r.out, &r.errs
	c.WaitDelay = time.Minute // what a killed program leaves behind may have its files open
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.ended)
		c.Wait()
	}()
	t.Cleanup(func() {
		c.Process.Kill()
		<-r.ended
	})
	return r
}

func (r *running) runs() bool {
	select {
	case <-r.ended:
		return false
	default:
		return true
	}
}

// wait returns what a command left, which must end within minutes.
func (r *running) wait() result {
	r.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(3 * time.Minute):
		r.t.Fatalf("%v does not end", r.c.Args[1:])
	}
	return result{r.c.ProcessState.ExitCode(), r.out.String(), r.errs.String()}
}

// must waits for a command that must end with this exit code.
func (r *running) must(code int) result {
	r.t.Helper()
	got := r.wait()
	if got.code != code {
		r.t.Fatalf("%v: %v, want exit code %d\n%s%s", r.c.Args[1:], r.c.ProcessState, code, got.stdout, got.stderr)
	}
	return got
}

// mustBeKilled waits for a command that was killed.
func (r *running) mustBeKilled() {
	r.t.Helper()
	if got := r.wait(); got.code != -1 {
		r.t.Fatalf("%v: %v, though it was killed\n%s%s", r.c.Args[1:], r.c.ProcessState, got.stdout, got.stderr)
	}
}

// An underway is a snapshot that is being made.
type underway struct {
	*running
	w     *struckWriter
	media compare.State // that it should hold
}

// next changes the media and begins a snapshot of them.
func (w *struckWriter) next(args ...string) *underway {
	w.t.Helper()
	return w.begin(w.command, args...)
}

// begin is next on some other machine, or by other ways.
func (w *struckWriter) begin(command func(...string) *command, args ...string) *underway {
	w.t.Helper()
	if err := w.change(w.n); err != nil {
		w.t.Fatal(err)
	}
	w.n++
	media, err := compare.Tree(w.media())
	if err != nil {
		w.t.Fatal(err)
	}
	c := command(append([]string{"snapshot", "--strict", "--live", w.live, "--json"}, args...)...)
	return &underway{start(w.t, c), w, media}
}

// must waits for the snapshot, and notes it where it was acknowledged.
func (u *underway) must(code int) result {
	u.t.Helper()
	r := u.running.must(code)
	made := decode[struct{ ID string }](u.t, r.stdout, "summary")
	if code == exitDone && len(made) != 1 {
		u.t.Fatalf("no summary:\n%s%s", r.stdout, r.stderr)
	}
	for _, m := range made {
		u.w.made[m.ID] = u.media
	}
	return r
}

// fails waits for a snapshot that can't be made, and looks at its one error, and whether it says so.
func (u *underway) fails(want ...string) {
	u.t.Helper()
	r := u.must(exitFailed)
	said := decode[struct{ Message string }](u.t, r.stderr, "error")
	if len(said) != 1 || strings.Contains(r.stdout, `"summary"`) {
		u.t.Fatalf("not one error: stdout %q, stderr\n%s", r.stdout, r.stderr)
	}
	for _, text := range want {
		if !strings.Contains(said[0].Message, text) {
			u.t.Errorf("it does not say %q: %s", text, said[0].Message)
		}
	}
}

// listed looks at what is listed after a run: all that was acknowledged, and nothing else. A run that was killed
// may have come to its end before it could say so: then its snapshot counts like the others.
func (w *struckWriter) listed(u *underway) {
	w.t.Helper()
	var ids []string
	for _, l := range w.site.snapshots(w.t) {
		ids = append(ids, l.ID)
		if _, ok := w.made[l.ID]; !ok {
			if u.c.ProcessState.ExitCode() != -1 {
				w.t.Errorf("snapshot %s is listed and was never acknowledged: %v", l.ID, u.c.ProcessState)
			}
			w.made[l.ID] = u.media
		}
	}
	for id := range w.made {
		if !slices.Contains(ids, id) {
			w.t.Errorf("snapshot %s was acknowledged and is gone", id)
		}
	}
}
