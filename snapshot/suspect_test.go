package snapshot

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"permafrost/repo"
)

// honestNights are honest snapshots: one each night, which takes an hour.
func honestNights(n int) []repo.SnapshotRef {
	var refs []repo.SnapshotRef
	for i := range n {
		at := time.Date(2026, 6, 1+i, 0, 30, 0, 0, time.UTC)
		r := repo.SnapshotRef{Seq: uint64(i + 1), Logged: at.Add(time.Hour)}
		r.Time, r.Date = at, at.Format(time.DateOnly)
		refs = append(refs, r)
	}
	return refs
}

// listed is a log of snapshots of which none was forgotten.
func listed(refs []repo.SnapshotRef, judged uint64) *repo.Chronicle {
	return &repo.Chronicle{Snapshots: refs, Marks: repo.Marks{Judged: judged}}
}

func TestSuspects(t *testing.T) {
	honest := honestNights(10)
	if found := Suspects(listed(honest, 0)); len(found) > 0 {
		t.Fatalf("honest nights: %v", found)
	}
	last := honest[9]
	for _, k := range []struct {
		name   string
		change func(r *repo.SnapshotRef)
		want   string // "" for no suspicion
	}{
		{"the night before by name", func(r *repo.SnapshotRef) { r.Date = "2026-06-09" }, ""},
		{"a first snapshot that took five days", func(r *repo.SnapshotRef) { r.Time = r.Time.AddDate(0, 0, -5); r.Date = "2026-06-06" }, ""},
		{"no clock of the storage", func(r *repo.SnapshotRef) { r.Logged = time.Time{} }, ""},
		{"the future", func(r *repo.SnapshotRef) { r.Time = r.Logged.Add(26 * time.Hour); r.Date = "2026-06-11" }, "after it came"},
		{"long ago", func(r *repo.SnapshotRef) { r.Time = r.Time.AddDate(0, 0, -8); r.Date = "2026-06-02" }, "but came to the storage"},
		{"long ago without a clock", func(r *repo.SnapshotRef) {
			r.Logged, r.Time, r.Date = time.Time{}, r.Time.AddDate(0, 0, -9), "2026-06-01"
		}, "but came after one of"},
		{"another month's name", func(r *repo.SnapshotRef) { r.Date = "2026-05-10" }, "is dated 2026-05-10"},
	} {
		refs := honestNights(10)
		refs[9] = last
		k.change(&refs[9])
		found := Suspects(listed(refs, 0))
		switch {
		case k.want == "" && len(found) > 0:
			t.Errorf("%s: %v", k.name, found)
		case k.want != "" && (len(found) != 1 || found[0].Snapshot.Seq != 10 || !strings.Contains(found[0].Why, k.want)):
			t.Errorf("%s: %v, want %q", k.name, found, k.want)
		}
		if found := Suspects(listed(refs, 10)); len(found) > 0 {
			t.Errorf("%s: suspected again after a forget above it: %v", k.name, found)
		}
	}
}

// One liar that claims to be of the far future must not make liars of the honest that follow.
func TestSuspectsAfterALiar(t *testing.T) {
	refs := honestNights(10)
	refs[4].Time = refs[4].Time.AddDate(1, 0, 0)
	if found := Suspects(listed(refs, 0)); len(found) != 1 || found[0].Snapshot.Seq != 5 {
		t.Errorf("%v", found)
	}
}

func TestFlood(t *testing.T) {
	for _, k := range []struct {
		honest, more int
		want         int // suspects
	}{
		{0, 20, 0}, // a first day of trials
		{10, 5, 0}, // with that night's 6, 7 are allowed
		{10, 7, 1},
		{10, 30, 24},
	} {
		t.Run(fmt.Sprint(k.honest, "+", k.more), func(t *testing.T) {
			refs := honestNights(k.honest)
			start := time.Date(2026, 6, 10, 2, 0, 0, 0, time.UTC)
			for i := range k.more {
				r := repo.SnapshotRef{Seq: uint64(100 + i), Logged: start.Add(time.Duration(i) * time.Minute)}
				r.Time, r.Date = r.Logged, "2026-06-10"
				refs = append(refs, r)
			}
			if found := Suspects(listed(refs, 0)); len(found) != k.want {
				t.Errorf("%d suspects, want %d: %v", len(found), k.want, found)
			}
		})
	}
}

// held is what a snapshot has of the database and of the media.
func held(dump, files, size int64) repo.Holding {
	return repo.Holding{Secrets: Captured, Postgres: repo.DatabaseHolding{State: Captured, Size: dump}, Redis: Captured,
		Media: repo.MediaHolding{State: Captured, Files: files, Size: size}}
}

// A snapshot is compared with the largest since somebody last confirmed what looked wrong, forgotten ones included.
func TestShrunk(t *testing.T) {
	full := held(100<<20, 10_000, 10<<30)
	hold := func(change func(*repo.Holding)) repo.Holding { h := full; change(&h); return h }
	bare := hold(func(h *repo.Holding) { h.Media.Files, h.Media.Size = 1, 7 })
	moved := hold(func(h *repo.Holding) { h.Media = repo.MediaHolding{State: repo.External} })
	for _, k := range []struct {
		name      string
		nights    []repo.Holding
		forgotten map[int]uint64 // of which night, by which entry
		confirmed uint64
		want      []string // of each night
	}{
		{"a bit less", []repo.Holding{full, hold(func(h *repo.Holding) { h.Postgres.Size, h.Media.Files, h.Media.Size = 51<<20, 5001, 6<<30 })}, nil, 0, []string{"", ""}},
		{"half a dump", []repo.Holding{full, hold(func(h *repo.Holding) { h.Postgres.Size = 49 << 20 })}, nil, 0, []string{"", "its dump has"}},
		{"few files", []repo.Holding{full, hold(func(h *repo.Holding) { h.Media.Files = 4000 })}, nil, 0, []string{"", "4000 media files"}},
		{"small files", []repo.Holding{full, hold(func(h *repo.Holding) { h.Media.Size = 1 << 30 })}, nil, 0, []string{"", "its media have"}},
		{"object storage", []repo.Holding{full, moved, moved}, nil, 0, []string{"", "in object storage", "in object storage"}},
		{"small ones come and go", []repo.Holding{held(1000, 90, 1000), held(1, 1, 1)}, nil, 0, []string{"", ""}},
		{"nothing at all", []repo.Holding{held(1000, 90, 1000), held(1000, 0, 0)}, nil, 0, []string{"", "0 media files"}},
		{"not mounted twice", []repo.Holding{full, bare, bare}, nil, 0, []string{"", "1 media", "1 media"}},
		{"the first was bad", []repo.Holding{bare, full, full}, nil, 0, []string{"", "", ""}},
		{"bad between", []repo.Holding{full, bare, full}, nil, 0, []string{"", "1 media", ""}},
		{"the good one forgotten", []repo.Holding{full, bare, bare}, map[int]uint64{0: 9}, 0, []string{"", "1 media", "1 media"}},
		{"a bad one forgotten", []repo.Holding{full, bare, bare}, map[int]uint64{1: 9}, 0, []string{"", "", "1 media"}},
		{"confirmed", []repo.Holding{full, bare, bare, full}, nil, 2, []string{"", "", "", ""}},
		{"the bad ones forgotten before the rest was confirmed", []repo.Holding{full, bare, bare, bare}, map[int]uint64{1: 3, 2: 3}, 3, []string{"", "", "", "1 media"}},
		{"smaller and smaller", []repo.Holding{held(100<<20, 0, 0), held(60<<20, 0, 0), held(36<<20, 0, 0), held(22<<20, 0, 0)}, nil, 0,
			[]string{"", "", "its dump has", "its dump has"}},
	} {
		t.Run(k.name, func(t *testing.T) {
			c := &repo.Chronicle{Forgotten: make(map[repo.Name]uint64), Marks: repo.Marks{Judged: k.confirmed, Confirmed: k.confirmed}}
			for i, h := range k.nights {
				c.Snapshots = append(c.Snapshots, honestNights(i + 1)[i])
				ref := &c.Snapshots[i]
				ref.ID, ref.Holding = repo.Name{byte(i + 1)}, h
				if by := k.forgotten[i]; by > 0 {
					c.Forgotten[ref.ID] = by
				}
			}
			got := make([]string, len(k.nights))
			for _, s := range Suspects(c) {
				got[s.Snapshot.Seq-1] += s.Why
			}
			for i, why := range got {
				if (why == "") != (k.want[i] == "") || !strings.Contains(why, k.want[i]) {
					t.Errorf("night %d: %q, want %q", i+1, why, k.want[i])
				}
			}
		})
	}
}
