package retain

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"permafrost/repo/cause"
	"permafrost/repo/ledger"
)

// parseRefs reads one snapshot a line, oldest first: its time, then any of date=D, tag=T, partial and
// instance=I. The date is the time's unless it is given.
func parseRefs(t testing.TB, text string) []ledger.SnapshotRef {
	t.Helper()
	var refs []ledger.SnapshotRef
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		at, err := time.Parse(time.RFC3339, fields[0])
		if err != nil {
			t.Fatal(err)
		}
		r := ledger.SnapshotRef{Seq: uint64(len(refs) + 1)}
		r.Instance, r.Time, r.Date = "mastodon.example", at, at.Format(time.DateOnly)
		binary.BigEndian.PutUint64(r.ID[:], r.Seq)
		r.Holding = held(100<<20, 1000, 10<<30)
		for _, f := range fields[1:] {
			switch key, value, _ := strings.Cut(f, "="); key {
			case "date":
				r.Date = value
			case "tag":
				r.Tags = append(r.Tags, value)
			case "partial":
				r.Partial = 1
			case "instance":
				r.Instance = value
			default:
				t.Fatalf("bad field %q", f)
			}
		}
		refs = append(refs, r)
	}
	return refs
}

// explain writes the decisions one a line: the time as it was in its zone, and the reasons.
func explain(decisions []Decision) string {
	var b strings.Builder
	for _, d := range decisions {
		fmt.Fprintf(&b, "%s", d.Snapshot.Time.Format(time.RFC3339))
		for i, r := range d.Reasons {
			fmt.Fprintf(&b, "%s%s", []string{"  ", "; "}[min(i, 1)], r)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestPolicy(t *testing.T) {
	tests := []struct {
		name   string
		policy Policy
		zone   string
		now    string // the newest snapshot's time unless given
		refs   string
		want   string
	}{{
		name:   "last counts snapshots, not days",
		policy: Policy{Last: 2},
		refs: `
2026-06-25T03:00:00Z
2026-06-27T03:00:00Z
2026-06-27T04:00:00Z`,
		want: `
2026-06-25T03:00:00Z
2026-06-27T03:00:00Z  last 2 of 2
2026-06-27T04:00:00Z  last 1 of 2`,
	}, {
		name:   "of each day the newest, and days without any do not count",
		policy: Policy{Daily: 2},
		refs: `
2026-06-20T03:00:00Z
2026-06-25T03:00:00Z
2026-06-25T04:00:00Z
2026-06-27T03:00:00Z`,
		want: `
2026-06-20T03:00:00Z
2026-06-25T03:00:00Z
2026-06-25T04:00:00Z  daily 2 of 2: 2026-06-25
2026-06-27T03:00:00Z  daily 1 of 2: 2026-06-27`,
	}, {
		name:   "days go by the operator's date",
		policy: Policy{Daily: 2},
		zone:   "Europe/Berlin",
		refs: `
2026-06-26T23:50:00+02:00 date=2026-06-26
2026-06-28T00:10:00+02:00 date=2026-06-27
2026-06-28T23:50:00+02:00 date=2026-06-28`,
		want: `
2026-06-26T23:50:00+02:00
2026-06-28T00:10:00+02:00  daily 2 of 2: 2026-06-27
2026-06-28T23:50:00+02:00  daily 1 of 2: 2026-06-28`,
	}, {
		name:   "a run for an earlier date does not push out a later one",
		policy: Policy{Daily: 1},
		refs: `
2026-06-27T03:00:00Z date=2026-06-27
2026-06-28T03:00:00Z date=2026-06-20`,
		want: `
2026-06-27T03:00:00Z  daily 1 of 1: 2026-06-27
2026-06-28T03:00:00Z`,
	}, {
		name:   "a date that is none is taken from the time, in the given zone",
		policy: Policy{Daily: Unlimited},
		zone:   "America/New_York",
		refs: `
2026-06-27T03:00:00Z date=tonight
2026-06-27T05:00:00Z date=`,
		want: `
2026-06-27T03:00:00Z  daily 2: 2026-06-26
2026-06-27T05:00:00Z  daily 1: 2026-06-27`,
	}, {
		name:   "the hour that Berlin's autumn repeats counts twice",
		policy: Policy{Hourly: 4},
		zone:   "Europe/Berlin",
		refs: `
2026-10-24T23:30:00Z
2026-10-25T00:10:00Z
2026-10-25T00:30:00Z
2026-10-25T01:30:00Z
2026-10-25T02:30:00Z`,
		want: `
2026-10-24T23:30:00Z  hourly 4 of 4: 2026-10-25 01:00 +0200
2026-10-25T00:10:00Z
2026-10-25T00:30:00Z  hourly 3 of 4: 2026-10-25 02:00 +0200
2026-10-25T01:30:00Z  hourly 2 of 4: 2026-10-25 02:00 +0100
2026-10-25T02:30:00Z  hourly 1 of 4: 2026-10-25 03:00 +0100`,
	}, {
		name:   "the hour that New York's spring skips is not missed",
		policy: Policy{Hourly: 2},
		zone:   "America/New_York",
		refs: `
2026-03-08T05:59:00Z
2026-03-08T06:59:00Z
2026-03-08T07:01:00Z`,
		want: `
2026-03-08T05:59:00Z
2026-03-08T06:59:00Z  hourly 2 of 2: 2026-03-08 01:00 -0500
2026-03-08T07:01:00Z  hourly 1 of 2: 2026-03-08 03:00 -0400`,
	}, {
		name:   "within reaches back whole days across a change of clocks",
		policy: Policy{Within: Span{Days: 1}},
		zone:   "Europe/Berlin",
		refs: `
2026-03-28T03:29:00+01:00
2026-03-28T03:30:00+01:00
2026-03-29T03:30:00+02:00`,
		want: `
2026-03-28T03:29:00+01:00
2026-03-28T03:30:00+01:00  within 1d
2026-03-29T03:30:00+02:00  within 1d`,
	}, {
		name:   "within counts hours by the clock's running",
		policy: Policy{Within: Span{Hours: 24}},
		zone:   "Europe/Berlin",
		refs: `
2026-03-28T02:29:00+01:00
2026-03-28T02:30:00+01:00
2026-03-29T03:30:00+02:00`,
		want: `
2026-03-28T02:29:00+01:00
2026-03-28T02:30:00+01:00  within 24h
2026-03-29T03:30:00+02:00  within 24h`,
	}, {
		name:   "within is counted from the newest snapshot, not from now",
		policy: Policy{Within: Span{Days: 30}},
		now:    "2027-06-01T00:00:00Z",
		refs: `
2026-05-01T03:00:00Z
2026-06-27T03:00:00Z`,
		want: `
2026-05-01T03:00:00Z
2026-06-27T03:00:00Z  within 30d`,
	}, {
		name:   "ISO weeks across the turn of the year",
		policy: Policy{Weekly: Unlimited},
		refs: `
2020-12-27T03:00:00Z
2020-12-28T03:00:00Z
2021-01-03T03:00:00Z
2021-01-04T03:00:00Z
2024-12-29T03:00:00Z
2024-12-30T03:00:00Z
2025-01-05T03:00:00Z`,
		want: `
2020-12-27T03:00:00Z  weekly 5: 2020-W52
2020-12-28T03:00:00Z
2021-01-03T03:00:00Z  weekly 4: 2020-W53
2021-01-04T03:00:00Z  weekly 3: 2021-W01
2024-12-29T03:00:00Z  weekly 2: 2024-W52
2024-12-30T03:00:00Z
2025-01-05T03:00:00Z  weekly 1: 2025-W01`,
	}, {
		name:   "months and years",
		policy: Policy{Monthly: 2, Yearly: 2},
		refs: `
2024-12-31T03:00:00Z
2025-06-01T03:00:00Z
2025-12-31T03:00:00Z
2026-01-01T03:00:00Z`,
		want: `
2024-12-31T03:00:00Z
2025-06-01T03:00:00Z
2025-12-31T03:00:00Z  monthly 2 of 2: 2025-12; yearly 2 of 2: 2025
2026-01-01T03:00:00Z  monthly 1 of 2: 2026-01; yearly 1 of 2: 2026`,
	}, {
		name:   "tags: all of one list, any of the lists",
		policy: Policy{Tags: [][]string{{"a", "b"}, {"c"}, {}}},
		refs: `
2026-06-20T03:00:00Z tag=a
2026-06-21T03:00:00Z tag=b tag=a
2026-06-22T03:00:00Z tag=c
2026-06-23T03:00:00Z`,
		want: `
2026-06-20T03:00:00Z
2026-06-21T03:00:00Z  tag a,b
2026-06-22T03:00:00Z  tag c
2026-06-23T03:00:00Z`,
	}, {
		name:   "each instance by itself",
		policy: Policy{Last: 1},
		refs: `
2026-06-20T03:00:00Z instance=a.example
2026-06-21T03:00:00Z instance=b.example
2026-06-22T03:00:00Z instance=b.example`,
		want: `
2026-06-20T03:00:00Z  the newest
2026-06-21T03:00:00Z
2026-06-22T03:00:00Z  the newest`,
	}, {
		name:   "where the newest of a period is partial its newest complete one stays too",
		policy: Policy{Daily: 1},
		refs: `
2026-06-27T02:00:00Z
2026-06-27T03:00:00Z
2026-06-27T04:00:00Z partial
2026-06-27T05:00:00Z partial`,
		want: `
2026-06-27T02:00:00Z
2026-06-27T03:00:00Z  complete, daily 1 of 1: 2026-06-27
2026-06-27T04:00:00Z
2026-06-27T05:00:00Z  daily 1 of 1: 2026-06-27`,
	}, {
		name:   "partial nights never push out the last complete one",
		policy: Policy{Last: 1, Daily: 2},
		refs: `
2026-06-23T03:00:00Z
2026-06-24T03:00:00Z
2026-06-25T03:00:00Z partial
2026-06-26T03:00:00Z partial
2026-06-27T03:00:00Z partial`,
		want: `
2026-06-23T03:00:00Z
2026-06-24T03:00:00Z  last complete
2026-06-25T03:00:00Z
2026-06-26T03:00:00Z  daily 2 of 2: 2026-06-26
2026-06-27T03:00:00Z  the newest; daily 1 of 2: 2026-06-27`,
	}, {
		name:   "a wrong clock and a mistyped date push out nothing",
		policy: Policy{Last: 1, Daily: 1, Within: Span{Days: 7}},
		now:    "2026-06-28T12:00:00Z",
		refs: `
2026-06-20T03:00:00Z
2026-06-27T03:00:00Z
2026-06-28T03:00:00Z date=2062-06-28
2036-06-27T03:00:00Z`,
		want: `
2026-06-20T03:00:00Z  within 7d
2026-06-27T03:00:00Z  the newest; within 7d; daily 1 of 1: 2026-06-27
2026-06-28T03:00:00Z  dated in the future: daily 1 of 1: 2062-06-28
2036-06-27T03:00:00Z  dated in the future: the newest; dated in the future: within 7d`,
	}, {
		name:   "a clock that is a little ahead is no wrong clock",
		policy: Policy{Last: 1},
		now:    "2026-06-27T23:00:00Z",
		refs: `
2026-06-27T03:00:00Z
2026-06-28T03:00:00Z`,
		want: `
2026-06-27T03:00:00Z
2026-06-28T03:00:00Z  the newest`,
	}, {
		name:   "of the same instant the later log entry is the newer",
		policy: Policy{Last: 1, Hourly: 1, Daily: 1},
		refs: `
2026-06-27T03:00:00Z
2026-06-27T03:00:00Z`,
		want: `
2026-06-27T03:00:00Z
2026-06-27T03:00:00Z  the newest; hourly 1 of 1: 2026-06-27 03:00 +0000; daily 1 of 1: 2026-06-27`,
	}, {
		name:   "every instance may be emptied where that was said",
		policy: Policy{Tags: [][]string{{"keep"}}, AllowRemoveAll: true},
		refs:   "\n2026-06-27T03:00:00Z",
		want:   "\n2026-06-27T03:00:00Z",
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			refs := parseRefs(t, tt.refs)
			now := refs[len(refs)-1].Time
			if tt.now != "" {
				now, _ = time.Parse(time.RFC3339, tt.now)
			}
			decisions, err := tt.policy.Apply(refs, nil, now.In(zone(t, cmp.Or(tt.zone, "UTC"))))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := explain(decisions), strings.TrimPrefix(tt.want, "\n")+"\n"; got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

func TestPolicyRefused(t *testing.T) {
	refs := parseRefs(t, "2026-06-27T03:00:00Z instance=a.example tag=x\n2026-06-28T03:00:00Z instance=b.example")
	for _, tt := range []struct {
		name   string
		policy Policy
		want   string
		cause  cause.Cause
	}{
		{"empty", Policy{}, "keeps nothing", cause.PolicyKeepsNothing},
		{"empty tag lists", Policy{Tags: [][]string{{}, nil}}, "keeps nothing", cause.PolicyKeepsNothing},
		{"empty, though all may go", Policy{AllowRemoveAll: true}, "keeps nothing", cause.PolicyKeepsNothing},
		{"one instance loses all", Policy{Tags: [][]string{{"x"}}}, "every snapshot of b.example", cause.PolicyRemovesAll},
		{"negative", Policy{Last: 1, Daily: -2}, "can't keep -2", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.policy.Apply(refs, nil, refs[1].Time)
			if err == nil || !strings.Contains(err.Error(), tt.want) || causeOf(err) != tt.cause {
				t.Errorf("got error %v with cause %q", err, causeOf(err))
			}
		})
	}
}
