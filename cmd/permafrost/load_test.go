package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"permafrost/internal/sandbox"
	"permafrost/internal/sandbox/compare"
)

var load = flag.Duration("load", 3*time.Second, "for how long TestLoad writes")

// Four processes, each as on a machine of its own with media of its own, write to one repository at once, while a fifth
// reads all of it over and over. Every snapshot that was acknowledged comes back as its source was.
func TestLoad(t *testing.T) {
	t.Parallel()
	s := newSite(t, sandbox.Config{})
	s.init()
	writers := make([]*loadWriter, 4)
	for i := range writers {
		writers[i] = newLoadWriter(t, s, i)
	}
	end := time.Now().Add(*load)
	var wg sync.WaitGroup
	for _, w := range writers {
		wg.Go(func() { w.write(end) })
	}
	checks := 0
	reader := s.elsewhere(filepath.Join(t.TempDir(), "reader"))
	for time.Now().Before(end) && !t.Failed() {
		if r := reader("check", "-i", s.recovery, "--read-data").run(t); r.code != exitDone {
			t.Errorf("check: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
		checks++
	}
	wg.Wait()
	total := 0
	for _, w := range writers {
		w.compare()
		total += len(w.made)
	}
	if listed := len(s.snapshots(t)); listed != total || total < 4 || checks == 0 {
		t.Errorf("%d snapshots were acknowledged, %d are listed; %d checks", total, listed, checks)
	}
	s.run(exitDone, "check", "-i", s.recovery, "--read-data")
	t.Logf("%d snapshots by 4 processes, %d checks beside them", total, checks)
}

// elsewhere returns the site's commands as a machine has them that keeps what it remembers below dir.
func (s *site) elsewhere(dir string) func(args ...string) *command {
	return func(args ...string) *command {
		c := s.command(args...)
		c.Env = append(c.Env, "PERMAFROST_STATE_DIR="+filepath.Join(dir, "state"), "PERMAFROST_CACHE_DIR="+filepath.Join(dir, "cache"))
		return c
	}
}

// A loadWriter snapshots a copy of the site's live directory, whose media it changes in between.
type loadWriter struct {
	t        *testing.T
	dir      string
	live     string
	command  func(args ...string) *command
	recovery string
	random   *rand.ChaCha8
	made     map[string]compare.State // snapshot's ID to its media
}

func newLoadWriter(t *testing.T, s *site, i int) *loadWriter {
	t.Helper()
	top := t.TempDir()
	for _, d := range []string{filepath.Dir(top), top} { // Mastodon's user gets to what is his
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(top, "machine")
	w := &loadWriter{t: t, dir: dir, live: filepath.Join(dir, "live"), command: s.elsewhere(dir), recovery: s.recovery,
		random: rand.NewChaCha8([32]byte{byte(i)}), made: make(map[string]compare.State)}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", s.Live, w.live).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return w
}

// write makes one snapshot after the other, the last one begun before end.
func (w *loadWriter) write(end time.Time) {
	for n := 0; time.Now().Before(end) && !w.t.Failed(); n++ {
		if err := w.change(n); err != nil {
			w.t.Error(err)
			return
		}
		media, err := compare.Tree(w.media())
		if err != nil {
			w.t.Error(err)
			return
		}
		r := w.command("snapshot", "--live", w.live, "--json").run(w.t)
		made := decode[struct{ ID string }](w.t, r.stdout, "summary")
		if r.code != exitDone || len(made) != 1 {
			w.t.Errorf("snapshot: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
			return
		}
		w.made[made[0].ID] = media
	}
}

func (w *loadWriter) media() string { return filepath.Join(w.live, "public", "system") }

// change adds a file, and changes the one before it.
func (w *loadWriter) change(n int) error {
	for k := max(0, n-1); k <= n; k++ {
		data := make([]byte, 200_000)
		w.random.Read(data)
		if err := os.WriteFile(filepath.Join(w.media(), fmt.Sprintf("load-%d", k)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// compare restores every snapshot.
func (w *loadWriter) compare() {
	w.t.Helper()
	for id, want := range w.made {
		target := filepath.Join(w.dir, "restored")
		r := w.command("restore", "-i", w.recovery, "--trust-media", "--snapshot", id, "--target", target).run(w.t)
		if r.code != exitDone {
			w.t.Fatalf("restoring %s: exit code %d\n%s", id, r.code, r.stderr)
		}
		got, err := compare.Tree(filepath.Join(target, "public-system"))
		if err == nil {
			err = want.Diff(got)
		}
		if err != nil {
			w.t.Errorf("snapshot %s: %v", id, err)
		}
		if err := os.RemoveAll(target); err != nil {
			w.t.Fatal(err)
		}
	}
}
