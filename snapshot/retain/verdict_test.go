package retain

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// nights are honest snapshots: one at each interval, which takes a tenth of that.
func nights(n int, interval time.Duration) []ledger.SnapshotRef {
	var refs []ledger.SnapshotRef
	for i := range n {
		at := time.Date(2026, 6, 1, 0, 30, 0, 0, time.UTC).Add(time.Duration(i) * interval)
		r := ledger.SnapshotRef{Seq: uint64(i + 1), ID: store.Name{byte(i >> 8), byte(i), 1}, Signed: at.Add(min(interval/10, longestRun)), Logged: at.Add(min(interval/10, longestRun))}
		r.Time, r.Date, r.Holding = at, at.Format(time.DateOnly), held(100<<20, 1000, 10<<30)
		refs = append(refs, r)
	}
	return refs
}

const aDay = 24 * time.Hour

// logOf is a log of snapshots of one instance, made when the first of them was.
func logOf(refs []ledger.SnapshotRef) *ledger.Chronicle {
	c := &ledger.Chronicle{Snapshots: refs, Forgotten: make(map[store.Name]uint64), Confirmed: make(map[store.Name]bool)}
	if len(refs) > 0 {
		c.First = ledger.Moment{Signed: refs[0].Time, Logged: refs[0].Logged.Add(refs[0].Time.Sub(refs[0].Signed))}
	}
	return c
}

// doubts writes what is thought of each snapshot of a log, one a line, where there is something.
func doubts(c *ledger.Chronicle) string {
	var b strings.Builder
	j := Judge(c)
	for _, ref := range c.Snapshots {
		v := j.Of(ref.ID)
		if v.Sound() {
			continue
		}
		fmt.Fprintf(&b, "%d:", ref.Seq)
		for _, d := range v.Doubts {
			fmt.Fprintf(&b, " %s %s%s %s %d/%d", d.Component, d.What, d.State, d.Why, d.Have, d.Had)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// A regular schedule is never in doubt, whatever its interval, and however far off the storage's clock is for good.
func TestRegularSchedules(t *testing.T) {
	for _, interval := range []time.Duration{time.Minute, 10 * time.Minute, time.Hour, 7 * time.Hour, aDay, 7 * aDay, 31 * aDay, 366 * aDay} {
		for _, off := range []time.Duration{0, 2 * time.Hour, -2 * time.Hour, -26 * time.Hour, 100 * aDay, -20 * 365 * aDay} {
			refs := nights(200, interval)
			for i := range refs {
				refs[i].Logged = refs[i].Logged.Add(off)
			}
			if got := doubts(logOf(refs)); got != "" {
				t.Errorf("each %v, the storage's clock %v ahead:\n%s", interval, off, got)
			}
			for i := range refs { // copied, at an entry a second
				refs[i].Logged = refs[199].Time.AddDate(1, 0, 0).Add(time.Duration(i) * time.Second)
			}
			if got := doubts(logOf(refs)); got != "" {
				t.Errorf("each %v, copied:\n%s", interval, got)
			}
		}
	}
}

func TestTimes(t *testing.T) {
	for _, k := range []struct {
		name   string
		change func(r *ledger.SnapshotRef)
		want   string // "" for no doubt
	}{
		{"the night before by name", func(r *ledger.SnapshotRef) { r.Date = "2026-06-09" }, ""},
		{"a run of five days", func(r *ledger.SnapshotRef) { r.Time = r.Time.AddDate(0, 0, -5); r.Date = "2026-06-06" }, ""},
		{"no clock of the storage", func(r *ledger.SnapshotRef) { r.Logged = time.Time{} }, ""},
		{"local time for UTC", func(r *ledger.SnapshotRef) { r.Time, r.Signed = r.Time.Add(14*time.Hour), r.Signed.Add(14*time.Hour) }, ""},
		{"the future", func(r *ledger.SnapshotRef) { r.Time = r.Logged.Add(26 * time.Hour); r.Date = "2026-06-11" }, "after it came"},
		{"long ago", func(r *ledger.SnapshotRef) { r.Time = r.Time.AddDate(0, 0, -8); r.Date = "2026-06-02" }, "but came to the storage"},
		{"long ago without a clock", func(r *ledger.SnapshotRef) {
			r.Logged, r.Time, r.Date = time.Time{}, r.Time.AddDate(0, 0, -9), "2026-06-01"
		}, "but came after one of"},
		{"another month's name", func(r *ledger.SnapshotRef) { r.Date = "2026-05-10" }, "it is dated 2026-05-10"},
	} {
		refs := nights(10, aDay)
		k.change(&refs[9])
		got := doubts(logOf(refs))
		if k.want == "" && got != "" || k.want != "" && (!strings.HasPrefix(got, "10:") || !strings.Contains(got, k.want)) {
			t.Errorf("%s: %q, want %q", k.name, got, k.want)
		}
		c := logOf(refs)
		c.Confirmed[refs[9].ID] = true
		if got := doubts(c); got != "" {
			t.Errorf("%s: in doubt though a person has confirmed it: %s", k.name, got)
		}
	}
}

// One liar that claims to be of the far future must not make liars of the honest that follow, nor does a host's clock that
// was ahead for a night.
func TestTimesAfterALiar(t *testing.T) {
	refs := nights(10, aDay)
	refs[4].Time = refs[4].Time.AddDate(1, 0, 0)
	refs[4].Date = refs[4].Time.Format(time.DateOnly)
	if got := doubts(logOf(refs)); !strings.HasPrefix(got, "5:") || strings.Count(got, "\n") != 1 {
		t.Error(got)
	}
}

// A writer can't move what is known of the storage's clock in a day, be it by a thousand entries.
func TestClockCantBeMovedInADay(t *testing.T) {
	refs := nights(10, aDay)
	last := refs[9].Logged
	for i := range 1000 {
		r := refs[9]
		r.Seq, r.ID, r.Logged = uint64(11+i), store.Name{byte(i >> 8), byte(i), 2}, last.Add(time.Duration(i)*time.Second)
		r.Time = r.Logged.AddDate(0, 0, 20+i%20)
		r.Signed, r.Date = r.Time, r.Time.Format(time.DateOnly)
		refs = append(refs, r)
	}
	if got := strings.Count(doubts(logOf(refs)), "after it came"); got != 1000 {
		t.Errorf("%d of 1000 are in doubt", got)
	}
}

// That the storage's clock is off for good is said once.
func TestClockIsSaidOnce(t *testing.T) {
	refs := nights(10, aDay)
	for i := range refs {
		refs[i].Logged = refs[i].Logged.Add(-2 * time.Hour)
	}
	c := logOf(refs)
	j := Judge(c)
	if off, news := j.Clock(); !news || off != "2h0m0s behind" {
		t.Errorf("%q, %v", off, news)
	}
	rec := j.Record("mastodon.example", 10)
	c.Recorded = ledger.Recorded{Through: rec.Through, Clock: rec.Clock}
	if off, news := Judge(c).Clock(); news {
		t.Errorf("%q again", off)
	}
	if off, news := Judge(logOf(nights(10, aDay))).Clock(); news {
		t.Errorf("%q of a good clock", off)
	}
}

// What an entry has recorded of times is not judged anew, whatever becomes of the storage's clock.
func TestRecordsStand(t *testing.T) {
	refs := nights(10, aDay)
	refs[4].Time = refs[4].Time.AddDate(0, 0, -9)
	refs[4].Date = refs[4].Time.Format(time.DateOnly)
	c := logOf(refs)
	before := doubts(c)
	rec := Judge(c).Record("mastodon.example", 10)
	if len(rec.Doubts) != 1 || rec.Doubts[0].Snapshot != refs[4].ID {
		t.Fatalf("%+v", rec)
	}
	c.Recorded = ledger.Recorded{Through: rec.Through, Doubts: map[store.Name]string{refs[4].ID: rec.Doubts[0].Why}}
	for i := range refs {
		refs[i].Logged = time.Date(2027, 1, 1, 0, i*120, 0, 0, time.UTC) // copied slowly
	}
	if got := doubts(c); got != before {
		t.Errorf("after a copy:\n%swas\n%s", got, before)
	}
}

// held is what a snapshot has of the database and of the media.
func held(dump, files, size int64) ledger.Holding {
	return ledger.Holding{Secrets: ledger.Captured, Postgres: ledger.DatabaseHolding{State: ledger.Captured, Size: dump}, Redis: ledger.Captured,
		Media: ledger.MediaHolding{State: ledger.Captured, Files: files, Size: size}}
}

// A component is compared with the largest since somebody last confirmed less, forgotten ones included.
func TestMeasures(t *testing.T) {
	full := held(100<<20, 10_000, 10<<30)
	full.Postgres.Rows = &ledger.Rows{Accounts: 9000, Users: 50, Statuses: 100_000, MediaAttachments: 8000}
	full.Media.Classes = map[string]ledger.Class{"accounts": {Files: 3000, Size: 1 << 30}, "media_attachments": {Files: 6000, Size: 7 << 30},
		"custom_emojis": {Files: 20, Size: 1 << 20}, "site_uploads": {Files: 4, Size: 1 << 20}, "backups": {Files: 976, Size: 2 << 30}}
	with := func(changes ...func(*ledger.Holding)) ledger.Holding {
		h := full
		rows := *full.Postgres.Rows
		h.Postgres.Rows, h.Media.Classes = &rows, make(map[string]ledger.Class)
		for name, c := range full.Media.Classes {
			h.Media.Classes[name] = c
		}
		for _, change := range changes {
			change(&h)
		}
		return h
	}
	uncounted := func(h *ledger.Holding) { h.Postgres.Rows = nil }
	bare := with(func(h *ledger.Holding) {
		h.Media.Files, h.Media.Size, h.Media.Classes = 1, 7, map[string]ledger.Class{"accounts": {Files: 1, Size: 7}}
	})
	moved := with(func(h *ledger.Holding) { h.Media = ledger.MediaHolding{State: ledger.External, Local: 400} })
	all := with(func(h *ledger.Holding) { h.Media = ledger.MediaHolding{State: ledger.External} })
	skipped := with(func(h *ledger.Holding) { h.Media = ledger.MediaHolding{State: ledger.Skipped} })
	for _, k := range []struct {
		name      string
		nights    []ledger.Holding
		confirmed []int
		want      []string // of each night
	}{
		{"a bit less", []ledger.Holding{full, with(func(h *ledger.Holding) { h.Postgres.Rows.Statuses, h.Media.Files, h.Media.Size = 51_000, 6000, 7<<30 })}, nil, []string{"", ""}},
		{"half the rows", []ledger.Holding{full, with(func(h *ledger.Holding) { h.Postgres.Rows.Statuses = 49_000 })}, nil, []string{"", "postgres statuses  49000/100000"}},
		{"few users", []ledger.Holding{full, with(func(h *ledger.Holding) { h.Postgres.Rows.Users = 20 })}, nil, []string{"", "postgres users  20/50"}},
		{"no accounts", []ledger.Holding{full, with(func(h *ledger.Holding) { h.Postgres.Rows.Accounts = 0 })}, nil, []string{"", "postgres accounts  0/9000"}},
		{"no attachments", []ledger.Holding{full, with(func(h *ledger.Holding) { h.Postgres.Rows.MediaAttachments = 0 })}, nil, []string{"", "postgres media_attachments  0/8000"}},
		{"half a dump of as many rows", []ledger.Holding{full, with(func(h *ledger.Holding) { h.Postgres.Size = 40 << 20 })}, nil, []string{"", ""}},
		{"half a dump, rows unknown", []ledger.Holding{with(uncounted), with(uncounted, func(h *ledger.Holding) { h.Postgres.Size = 40 << 20 })}, nil,
			[]string{"", fmt.Sprintf("postgres dump  %d/%d", 40<<20, 100<<20)}},
		{"few files", []ledger.Holding{full, with(func(h *ledger.Holding) { h.Media.Files = 4000 })}, nil, []string{"", "media files  3024/9024"}},
		{"small files", []ledger.Holding{full, with(func(h *ledger.Holding) { h.Media.Size = 3 << 30 })}, nil, []string{"", "media media "}},
		{"a class is gone", []ledger.Holding{full, with(func(h *ledger.Holding) { delete(h.Media.Classes, "custom_emojis") })}, nil, []string{"", "media custom_emojis  0/20"}},
		{"a class of four files is gone", []ledger.Holding{full, with(func(h *ledger.Holding) { delete(h.Media.Classes, "site_uploads") })}, nil, []string{"", ""}},
		{"archives come and go", []ledger.Holding{full, with(func(h *ledger.Holding) {
			delete(h.Media.Classes, "backups")
			h.Media.Files, h.Media.Size = 9024, 8<<30
		})}, nil, []string{"", ""}},
		{"large archives come and go", []ledger.Holding{with(func(h *ledger.Holding) {
			h.Media.Classes["backups"], h.Media.Size = ledger.Class{Files: 976, Size: 60 << 30}, 68<<30
		}), full}, nil, []string{"", ""}},
		{"moved to object storage, files left", []ledger.Holding{full, moved, moved}, nil, []string{"", "media filesexternal  400/9024", "media filesexternal  400/9024"}},
		{"moved to object storage", []ledger.Holding{full, all}, nil, []string{"", "media filesexternal  0/9024"}},
		{"always in object storage", []ledger.Holding{all, moved, all}, nil, []string{"", "", ""}},
		{"moved, and confirmed", []ledger.Holding{full, moved, all, full, bare}, []int{1}, []string{"", "", "", "", "media media "}},
		{"left out by a setting", []ledger.Holding{full, skipped, skipped}, nil, []string{"", "media filesskipped", "media filesskipped"}},
		{"the database left out", []ledger.Holding{full, with(func(h *ledger.Holding) { h.Postgres = ledger.DatabaseHolding{State: ledger.Skipped} })}, nil, []string{"", "postgres statusesskipped"}},
		{"never there", []ledger.Holding{skipped, skipped}, nil, []string{"", ""}},
		{"failed", []ledger.Holding{full, with(func(h *ledger.Holding) { h.Media = ledger.MediaHolding{State: ledger.Failed} }), bare, full}, nil, []string{"", "", "media media ", ""}},
		{"Redis left out", []ledger.Holding{full, with(func(h *ledger.Holding) { h.Redis = ledger.Skipped })}, nil, []string{"", ""}},
		{"small ones come and go", []ledger.Holding{held(1000, 90, 1000), held(1, 1, 1)}, nil, []string{"", ""}},
		{"nothing at all", []ledger.Holding{held(1000, 90, 1000), held(1000, 0, 0)}, nil, []string{"", "media files  0/90"}},
		{"not mounted twice", []ledger.Holding{full, bare, bare}, nil, []string{"", "7/8589934592", "7/8589934592"}},
		{"the first was bad", []ledger.Holding{bare, full, full}, nil, []string{"", "", ""}},
		{"bad between", []ledger.Holding{full, bare, full}, nil, []string{"", "7/", ""}},
		{"confirmed", []ledger.Holding{full, bare, bare, full}, []int{1}, []string{"", "", "", ""}},
		{"the second confirmed", []ledger.Holding{full, bare, bare, bare}, []int{2}, []string{"", "7/", "", ""}},
		{"confirmed for the media alone", []ledger.Holding{full, with(func(h *ledger.Holding) { h.Media.Size, h.Postgres.Rows.Statuses = 7, 60_000 }),
			with(func(h *ledger.Holding) { h.Media.Size, h.Postgres.Rows.Statuses = 7, 40_000 })}, []int{1}, []string{"", "", "statuses  40000/100000"}},
		{"smaller and smaller", []ledger.Holding{held(100<<20, 0, 0), held(60<<20, 0, 0), held(36<<20, 0, 0), held(22<<20, 0, 0)}, nil,
			[]string{"", "", "postgres dump", "postgres dump"}},
		{"less than nothing", []ledger.Holding{full, with(func(h *ledger.Holding) { h.Media.Size, h.Media.Files = -1, math.MinInt64 }), full}, nil, []string{"", "an impossible number", ""}},
		{"more than there is", []ledger.Holding{full, with(func(h *ledger.Holding) { h.Media.Size, h.Postgres.Rows.Users = math.MaxInt64, math.MaxInt64 }), full}, nil, []string{"", "an impossible number", ""}},
		{"archives of more than all", []ledger.Holding{full, with(func(h *ledger.Holding) {
			h.Media.Classes["backups"], h.Media.Classes["imports"] = ledger.Class{Files: math.MaxInt64, Size: math.MaxInt64}, ledger.Class{Files: math.MinInt64, Size: -5}
		}), full}, nil, []string{"", "", ""}},
		{"a state that is none", []ledger.Holding{full, with(func(h *ledger.Holding) { h.Media.State, h.Redis, h.Postgres.State = "x", "", "?" }), full}, nil, []string{"", "", ""}},
	} {
		t.Run(k.name, func(t *testing.T) {
			c := logOf(nights(len(k.nights), aDay))
			for i, h := range k.nights {
				c.Snapshots[i].Holding = h
			}
			for _, i := range k.confirmed {
				c.Confirmed[c.Snapshots[i].ID] = true
			}
			lines := strings.SplitAfter(doubts(c), "\n")
			for i, want := range k.want {
				at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, fmt.Sprint(i+1, ":")) })
				if want == "" && at >= 0 || want != "" && (at < 0 || !strings.Contains(lines[at], want)) {
					t.Errorf("night %d: want %q of\n%s", i+1, want, strings.Join(lines, ""))
				}
			}
			for _, ref := range c.Snapshots { // forgetting changes no verdict
				c.Forgotten[ref.ID] = 99
			}
			if got := doubts(c); got != strings.Join(lines, "") {
				t.Errorf("once all are forgotten:\n%s", got)
			}
		})
	}
}

// What is new in a repository is copied to a second storage after a time: of the burst the first alone can't be told from a lie.
func TestCopiedInPart(t *testing.T) {
	refs := nights(90, aDay)
	for i := range refs[:60] {
		refs[30+i].Logged = refs[89].Signed.Add(time.Duration(i) * time.Second)
	}
	if got := doubts(logOf(refs)); !strings.HasPrefix(got, "31:") || strings.Count(got, "\n") != 1 {
		t.Error(got)
	}
}
