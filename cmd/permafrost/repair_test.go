package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A lost index comes back from the packs; what is lost of a pack comes back with the next snapshot.
func (w *witness) testRepair(t *testing.T) {
	w = w.small("repair")
	before := w.objects()
	for i := range 4 {
		w.addMedia(fmt.Sprintf("later-%d.jpg", i), 1<<20)
	}
	w.run(exitDated, "snapshot", "--date", "2026-06-27")
	index, pack := "", "" // of that night: its only index object, and the pack of its media
	for _, name := range w.objects() {
		switch kind, _, _ := strings.Cut(name, "/"); {
		case slices.Contains(before, name):
		case kind == "index":
			index = name
		case kind == "packs" && (pack == "" || w.sizeOf(name) > w.sizeOf(pack)):
			pack = name
		}
	}
	t.Run("nothing to do", func(t *testing.T) {
		w := w.on(t)
		entries := len(w.objects())
		for _, what := range []string{"index", "packs"} {
			w.run(exitWrongKey, "repair", what)
			w.run(exitDone, "repair", what, "-i", w.recovery)
		}
		if n := len(w.objects()); n != entries {
			t.Errorf("%d objects became %d", entries, n)
		}
	})
	t.Run("index", func(t *testing.T) { w.on(t).testRepairIndex(index) })
	t.Run("packs", func(t *testing.T) { w.on(t).testRepairPacks(pack) })
}

func (w *witness) sizeOf(object string) int64 {
	w.t.Helper()
	info, err := os.Stat(filepath.Join(w.place(), object))
	if err != nil {
		w.t.Fatal(err)
	}
	return info.Size()
}

func (w *witness) testRepairIndex(object string) {
	w = w.wounded(object, func([]byte) []byte { return nil }).hostCopy("recovery.key")
	if r := w.run(exitDamage, "prune", "-i", w.recovery); !strings.Contains(r.stderr, object) || !strings.Contains(r.stderr, "repair index") {
		w.t.Errorf("prune says\n%s", r.stderr)
	}
	if r := w.machine("recovery.key").run(exitDamage, "restore", "-i", "recovery.key", "--date", "2026-06-27", "--target", "lost"); !strings.Contains(r.stderr, "no index lists it") {
		w.t.Errorf("restore says\n%s", r.stderr)
	}
	dry := w.run(exitDone, "repair", "index", "-i", w.recovery, "-n")
	if !strings.Contains(dry.stdout, "would take 1 index object ") {
		w.t.Errorf("a dry run says\n%s", dry.stdout)
	}
	w.run(exitDamage, "check")
	w.run(exitDone, "repair", "index", "-i", w.recovery)
	w.whole("2026-06-27")
	w.run(exitDone, "prune", "-i", w.recovery)
	w.whole("2026-06-27")
}

func (w *witness) testRepairPacks(object string) {
	w = w.wounded(object, wounds["flipped"]).hostCopy("recovery.key")
	w.run(exitDamage, "check", "--read-data")
	r := w.run(exitPartial, "repair", "packs", "-i", w.recovery)
	if !strings.Contains(r.stdout, object) || !strings.Contains(r.stdout, "of 2026-06-27 lacks 1 part") || !strings.Contains(r.stdout, "  media/later-") ||
		strings.Contains(r.stdout, "2026-06-26") {
		w.t.Errorf("repair says\n%s", r.stdout)
	}
	w.intact()
	r = w.run(exitDamage, "restore", "-i", w.recovery, "--date", "2026-06-27", "--target", "partly")
	if names, err := filepath.Glob(filepath.Join(w.home, "partly", "public-system", "later-*")); err != nil || len(names) != 3 {
		w.t.Errorf("restore gives back %q, %v:\n%s", names, err, r.stderr)
	}
	w.run(exitDated, "snapshot", "--date", "2026-06-28")
	w.whole("2026-06-27", "2026-06-28")
	w.run(exitDone, "repair", "packs", "-i", w.recovery)
	w.run(exitDone, "prune", "-i", w.recovery)
	if _, err := os.Stat(filepath.Join(w.place(), object)); !os.IsNotExist(err) {
		w.t.Errorf("the damaged pack after a prune: %v", err)
	}
	w.whole("2026-06-27", "2026-06-28")
}

// whole checks all that is stored, and restores the first snapshot and those of the dates, whose media are as they stand.
func (w *witness) whole(dates ...string) {
	w.t.Helper()
	w.run(exitDone, "check", "--read-data", "-i", w.recovery)
	w.intact()
	for _, date := range dates {
		dir := filepath.Join(w.t.TempDir(), date)
		w.run(exitDone, "restore", "-i", w.recovery, "--date", date, "--target", dir)
		for i := range 4 {
			name := fmt.Sprintf("later-%d.jpg", i)
			want, err := os.ReadFile(filepath.Join(w.root, name))
			if err != nil {
				w.t.Fatal(err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "public-system", name)); err != nil || string(got) != string(want) {
				w.t.Errorf("%s of %s: %d bytes, %v", name, date, len(got), err)
			}
		}
	}
}
