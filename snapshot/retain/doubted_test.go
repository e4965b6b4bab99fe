package retain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// kept applies a policy to a log, and writes the numbers of what it keeps.
func kept(t *testing.T, p Policy, c *ledger.Chronicle) string {
	t.Helper()
	now := c.Snapshots[len(c.Snapshots)-1].Logged
	decisions, err := p.Apply(c.Snapshots, Judgements{c.Snapshots[0].Instance: Judge(c)}, now)
	if err != nil {
		t.Fatal(err)
	}
	var numbers []string
	for _, d := range decisions {
		if d.Keep() {
			numbers = append(numbers, fmt.Sprint(d.Snapshot.Seq))
		}
	}
	return strings.Join(numbers, " ")
}

// Each rule counts, for each component by itself, what has it without doubt; what is in doubt is kept beside that, by
// generations.
func TestPolicyCounts(t *testing.T) {
	full := held(100<<20, 1000, 10<<30)
	bare, half := held(100<<20, 1, 7), held(100<<20, 400, 4<<30)
	noDatabase, noMedia := full, full
	noDatabase.Postgres = ledger.DatabaseHolding{State: ledger.Failed}
	noMedia.Media = ledger.MediaHolding{State: ledger.Failed}
	moved := full
	moved.Media = ledger.MediaHolding{State: ledger.External, Local: 5}
	for _, k := range []struct {
		name      string
		nights    []ledger.Holding
		confirmed []int
		policy    Policy
		want      string
	}{
		{"all good", []ledger.Holding{full, full, full, full}, nil, Policy{Last: 2}, "3 4"},
		{"a bad night", []ledger.Holding{full, full, bare}, nil, Policy{Last: 1}, "2 3"},
		{"bad nights", []ledger.Holding{full, full, bare, bare, bare, bare}, nil, Policy{Last: 2}, "1 2 5 6"},
		{"a good one after it", []ledger.Holding{full, bare, full}, nil, Policy{Last: 1}, "2 3"},
		{"confirmed", []ledger.Holding{full, full, bare, bare}, []int{2}, Policy{Last: 1}, "4"},
		{"nights without a component", []ledger.Holding{full, noDatabase, noMedia, noDatabase, noMedia}, nil, Policy{Last: 1}, "4 5"},
		{"always without a component", []ledger.Holding{full, noMedia, noMedia, noMedia}, nil, Policy{Last: 1}, "1 4"},
		{"what is in doubt for its media has a good database, and pushes out none", []ledger.Holding{full, noMedia, bare}, nil, Policy{Last: 1}, "1 2 3"},
		{"moved to object storage", []ledger.Holding{full, full, moved, moved}, nil, Policy{Last: 1}, "2 4"},
		{"four generations", []ledger.Holding{full, bare, half, bare, half, bare, half, full}, nil, Policy{Last: 1}, "4 5 6 7 8"},
		{"good media beside a bad database", []ledger.Holding{full, held(10<<20, 1000, 10<<30), bare, half, bare, half, bare}, nil, Policy{Last: 1}, "1 2 4 5 6 7"},
		{"the first of a generation is what the others are like", []ledger.Holding{full, half, half, held(100<<20, 250, 3<<30), half, half}, nil, Policy{Last: 2}, "1 5 6"},
	} {
		c := logOf(nights(len(k.nights), aDay))
		for i, h := range k.nights {
			c.Snapshots[i].Holding = h
		}
		for _, i := range k.confirmed {
			c.Confirmed[c.Snapshots[i].ID] = true
		}
		if got := kept(t, k.policy, c); got != k.want {
			t.Errorf("%s: %v keeps %s, want %s", k.name, k.policy.Last, got, k.want)
		}
	}
}

// What lies about its times is no generation with what does not: it would count as the newest.
func TestLiarsAreAGeneration(t *testing.T) {
	c := logOf(nights(5, aDay))
	c.Snapshots[2].Holding, c.Snapshots[3].Holding = held(100<<20, 1, 7), held(100<<20, 1, 7)
	c.Snapshots[3].Time = c.Snapshots[3].Time.AddDate(0, 0, 20)
	if got := kept(t, Policy{Last: 1}, c); got != "3 4 5" {
		t.Errorf("it keeps %s", got)
	}
}

// A policy leaves one without doubt where there is one, unless all may go.
func TestPolicyLeavesASoundOne(t *testing.T) {
	c := logOf(nights(3, aDay))
	c.Snapshots[2].Holding = held(1, 1, 1)
	c.Snapshots[2].Tags = []string{"x"}
	p := Policy{Tags: [][]string{{"x"}}}
	j := Judgements{"": Judge(c)}
	if _, err := p.Apply(c.Snapshots, j, c.Snapshots[2].Time); err == nil || !strings.Contains(err.Error(), "does not look wrong") {
		t.Errorf("%v", err)
	}
	p.AllowRemoveAll = true
	if got := kept(t, p, c); got != "3" {
		t.Errorf("it keeps %s", got)
	}
}

// A host whose writer may not forget is taken over, and makes hundreds of snapshots in a day: keep-last and keep-hourly leave
// the newest of each of the last 14 days before.
func TestFloodPushesNothingOut(t *testing.T) {
	for _, p := range []Policy{{Last: 3}, {Hourly: 24}} {
		refs := nights(30, aDay)
		for i := range 300 {
			r := refs[29]
			r.Seq, r.ID = uint64(31+i), store.Name{byte(i >> 8), byte(i), 2}
			r.Time = r.Time.Add(time.Duration(i+1) * 4 * time.Minute)
			r.Signed, r.Logged, r.Date = r.Time, r.Time.Add(time.Minute), r.Time.Format(time.DateOnly)
			refs = append(refs, r)
		}
		for i := range refs {
			refs[i].Bound = true
		}
		got := strings.Fields(kept(t, p, logOf(refs)))
		for _, want := range []string{"29", "28", "20", "18"} {
			if !slices.Contains(got, want) {
				t.Errorf("%+v: night %s is pushed out: %v are left", p, want, got)
			}
		}
		if slices.Contains(got, "5") || len(got) > 40 {
			t.Errorf("%+v: %d are left: %v", p, len(got), got)
		}
		for i := range refs {
			refs[i].Bound = false
		}
		if free := kept(t, p, logOf(refs)); strings.Contains(" "+free+" ", " 20 ") {
			t.Errorf("%+v: where the writer may forget %s are left", p, free)
		}
	}
}

// Dates and latest mean the newest without doubt that has what is wanted, and name what they pass over.
func TestFindPassesOver(t *testing.T) {
	c := logOf(nights(5, aDay))
	s := c.Snapshots
	s[2].Holding.Postgres = ledger.DatabaseHolding{State: ledger.Failed}
	s[3].Holding.Media = ledger.MediaHolding{State: ledger.Captured, Files: 1, Size: 7}
	s[4].Time, s[4].Date = s[4].Time.AddDate(1, 0, 0), "2027-06-05"
	s[1].Holding.Media = ledger.MediaHolding{State: ledger.External}
	for i := range s {
		s[i].Instance = "a.example"
	}
	c.Confirmed[s[1].ID] = true
	s[0].Date, s[3].Date = s[2].Date, s[2].Date
	j := Judgements{"a.example": Judge(c)}
	for _, k := range []struct {
		spec string
		wish Wish
		want uint64
		over string
	}{
		{"latest", Wish{}, 3, "5 4"},
		{"latest", Wish{Whole: true}, 2, "5 4 3"},
		{"latest", Wish{Components: []Component{Postgres}}, 4, "5"},
		{"latest~1", Wish{Components: []Component{Postgres}}, 2, "5 3"},
		{"latest", Wish{Components: []Component{Media}}, 3, "5 4"},
		{"latest", Wish{Components: []Component{Redis, Secrets}}, 4, "5"},
		{"latest~1", Wish{}, 2, "5 4"},
		{s[2].Date, Wish{Components: []Component{Postgres}}, 4, ""},
		{s[2].Date, Wish{Components: []Component{Postgres, Media}}, 1, "4 3"},
		{s[2].Date, Wish{}, 3, "4"},
		{"2027-06-05", Wish{}, 5, ""},
	} {
		found, err := Find(s, j, k.spec, k.wish)
		var over []string
		for _, r := range found.Over {
			over = append(over, fmt.Sprint(r.Seq))
		}
		if err != nil || found.Seq != k.want || strings.Join(over, " ") != k.over {
			t.Errorf("%s for %+v: %d over %v, %v; want %d over %s", k.spec, k.wish, found.Seq, over, err, k.want, k.over)
		}
	}
}

// Of a date that is wanted whole the newest with all components is taken, though a later one is without doubt and lacks one by
// a setting. Where there is none that later one is taken.
func TestFindComplete(t *testing.T) {
	c := logOf(nights(3, aDay))
	s := c.Snapshots
	for i := range s {
		s[i].Instance, s[i].Date = "a.example", s[0].Date
	}
	s[1].Holding.Redis = ledger.Skipped
	s[2].Holding.Media = ledger.MediaHolding{State: ledger.Skipped}
	c.Confirmed[s[2].ID] = true
	for _, k := range []struct {
		among []ledger.SnapshotRef
		spec  string
		wish  Wish
		want  uint64
		over  int
	}{
		{s, s[0].Date, Wish{Whole: true}, 1, 2},
		{s, s[0].Date, Wish{}, 3, 0},
		{s[1:], s[0].Date, Wish{Whole: true}, 3, 0},
		{s, "latest", Wish{Whole: true}, 3, 0}, // a component that is skipped each night must not lead back for years
	} {
		found, err := Find(k.among, Judgements{"a.example": Judge(c)}, k.spec, k.wish)
		if err != nil || found.Seq != k.want || len(found.Over) != k.over {
			t.Errorf("%s for %+v: %d over %d, %v; want %d over %d", k.spec, k.wish, found.Seq, len(found.Over), err, k.want, k.over)
		}
	}
	whole := Wish{Whole: true}
	if got := whole.Lacks(&s[2].Holding); len(got) != 1 || got[0] != Media {
		t.Errorf("it lacks %v", got)
	}
}

// Of a snapshot that a doubt compares with it is known when it was, and that it is forgotten.
func TestForgottenComparison(t *testing.T) {
	c := logOf(nights(2, aDay))
	s := c.Snapshots
	s[0].Holding, s[1].Holding = held(100<<20, 1000, 10<<30), held(100<<20, 1, 7)
	v := Judge(c).Of(s[1].ID)
	if v.Sound() || v.Doubts[0].In != s[0].ID {
		t.Fatalf("%+v", v.Doubts)
	}
	if date, gone := v.Forgotten(s[0].ID); gone {
		t.Errorf("it is listed, and forgotten since %s", date)
	}
	c.Forgotten[s[0].ID] = 3
	if date, gone := v.Forgotten(s[0].ID); !gone || date != s[0].Date {
		t.Errorf("%q, %v", date, gone)
	}
}
