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

func TestSuspects(t *testing.T) {
	honest := honestNights(10)
	if found := Suspects(honest, 0); len(found) > 0 {
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
		found := Suspects(refs, 0)
		switch {
		case k.want == "" && len(found) > 0:
			t.Errorf("%s: %v", k.name, found)
		case k.want != "" && (len(found) != 1 || found[0].Snapshot.Seq != 10 || !strings.Contains(found[0].Why, k.want)):
			t.Errorf("%s: %v, want %q", k.name, found, k.want)
		}
		if found := Suspects(refs, 10); len(found) > 0 {
			t.Errorf("%s: suspected again after a forget above it: %v", k.name, found)
		}
	}
}

// One liar that claims to be of the far future must not make liars of the honest that follow.
func TestSuspectsAfterALiar(t *testing.T) {
	refs := honestNights(10)
	refs[4].Time = refs[4].Time.AddDate(1, 0, 0)
	if found := Suspects(refs, 0); len(found) != 1 || found[0].Snapshot.Seq != 5 {
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
			if found := Suspects(refs, 0); len(found) != k.want {
				t.Errorf("%d suspects, want %d: %v", len(found), k.want, found)
			}
		})
	}
}

func TestShrunk(t *testing.T) {
	before := &Manifest{Postgres: Postgres{Stream: Stream{Size: 100 << 20}}, Media: Media{State: Captured, Size: 10 << 30}}
	for _, k := range []struct {
		dump, media int64
		state       State
		want        string
	}{
		{100 << 20, 10 << 30, Captured, ""},
		{51 << 20, 6 << 30, Captured, ""},
		{49 << 20, 10 << 30, Captured, "the dump"},
		{100 << 20, 1 << 30, Captured, "the media"},
		{100 << 20, 0, External, ""},
	} {
		after := &Manifest{Postgres: Postgres{Stream: Stream{Size: k.dump}}, Media: Media{State: k.state, Size: k.media}}
		if why := Shrunk(before, after); (why == "") != (k.want == "") || !strings.HasPrefix(why, k.want) {
			t.Errorf("dump %d, media %d: %q, want %q", k.dump, k.media, why, k.want)
		}
	}
	if why := Shrunk(&Manifest{Postgres: Postgres{Stream: Stream{Size: 1000}}}, &Manifest{}); why != "" {
		t.Errorf("a small one: %s", why)
	}
}
