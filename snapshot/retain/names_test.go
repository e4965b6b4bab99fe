package retain

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"permafrost/repo/cause"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

func TestFind(t *testing.T) {
	refs := parseRefs(t, `
2026-06-25T03:00:00Z
2026-06-27T03:00:00Z
2026-06-27T04:00:00Z
2026-06-28T00:10:00Z date=2026-06-27
2026-06-30T03:00:00Z`)
	for i, id := range []string{"ab120000", "ab123400", "cd00", "20260627", "abff"} {
		refs[i].ID = store.Name{}
		if _, err := hex.Decode(refs[i].ID[:], []byte(id)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		spec  string
		want  uint64 // Seq; 0: an error
		err   string
		cause cause.Cause
	}{
		{spec: "2026-06-25", want: 1},
		{spec: "2026-06-27", want: 4},
		{spec: "latest", want: 5},
		{spec: "latest~0", want: 5},
		{spec: "latest~1", want: 4},
		{spec: "latest~4", want: 1},
		{spec: "ab1200", want: 1},
		{spec: "AB1234", want: 2},
		{spec: "ab123", want: 2},
		{spec: "cd00", want: 3},
		{spec: "cd00" + strings.Repeat("0", 60), want: 3},
		{spec: "2026", want: 4},

		{spec: "latest~5", err: "only 5"},
		{spec: "latest~-1", err: "names no snapshot"},
		{spec: "latest~", err: "names no snapshot"},
		{spec: "latestt", err: "names no snapshot"},
		{spec: "2026-06-26", err: "nearest are of 2026-06-25 and 2026-06-27"},
		{spec: "2026-06-01", err: "the first is of 2026-06-25"},
		{spec: "2026-07-01", err: "the last is of 2026-06-30"},
		{spec: "2026-06-31", err: "names no snapshot", cause: cause.NoSnapshotName},
		{spec: "cd0", err: "too short"},
		{spec: "ab12", err: "ab12 could be any of ab120000 (2026-06-25), ab123400 (2026-06-27)"},
		{spec: "dddd", err: "no snapshot's ID", cause: cause.NoSnapshotID},
		{spec: "cd00" + strings.Repeat("0", 61), err: "no snapshot's ID"},
		{spec: "yesterday", err: "names no snapshot", cause: cause.NoSnapshotName},
		{spec: "", err: "names no snapshot", cause: cause.NoSnapshotName},
	} {
		got, err := Find(refs, nil, tt.spec, Wish{})
		if tt.want != 0 {
			if err != nil || got.Seq != tt.want {
				t.Errorf("Find(%q) = %d, %v; want %d", tt.spec, got.Seq, err, tt.want)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.err) || causeOf(err) != tt.cause && tt.cause != "" {
			t.Errorf("Find(%q) = %d, %v, cause %q; want %q", tt.spec, got.Seq, err, causeOf(err), tt.err)
		}
	}
}

// A date to come is told as one, unless there is a snapshot of it.
func TestFindAhead(t *testing.T) {
	refs := parseRefs(t, "2026-06-27T03:00:00Z instance=a.example")
	if _, err := Find(refs, nil, "2099-01-01", Wish{}); err == nil || !strings.Contains(err.Error(), "lies in the future") || !strings.Contains(err.Error(), "2026-06-27") {
		t.Error(err)
	}
	refs[0].Date = "2099-01-01"
	if _, err := Find(refs, nil, "2099-01-01", Wish{}); err != nil {
		t.Error(err)
	}
}

func TestFindNone(t *testing.T) {
	if _, err := Find(nil, nil, "latest", Wish{}); causeOf(err) != cause.NoSnapshots {
		t.Errorf("got %v", err)
	}
}

// A repository of several instances answers to an ID alone: a date could mean any of them.
func TestFindSeveralInstances(t *testing.T) {
	refs := parseRefs(t, "2026-06-27T03:00:00Z instance=a.example\n2026-06-28T03:00:00Z instance=b.example")
	for _, spec := range []string{"2026-06-27", "latest"} {
		if _, err := Find(refs, nil, spec, Wish{}); err == nil || !strings.Contains(err.Error(), "a.example, b.example") {
			t.Errorf("Find(%q): %v", spec, err)
		}
	}
	if got, err := Find(refs, nil, refs[1].ID.String()[:16], Wish{}); err != nil || got.Seq != 2 {
		t.Errorf("got %d, %v", got.Seq, err)
	}
}

func TestFindNamesFewCandidates(t *testing.T) {
	refs := make([]ledger.SnapshotRef, 40)
	for i := range refs {
		refs[i].ID[31] = byte(i)
	}
	_, err := Find(refs, nil, "0000", Wish{})
	if err == nil || strings.Count(err.Error(), "(") != maxCandidates || !strings.HasSuffix(err.Error(), "and 32 more") {
		t.Error(err)
	}
}

// causeOf returns the cause of an error.
func causeOf(err error) cause.Cause {
	if e := (*cause.Error)(nil); errors.As(err, &e) {
		return e.Cause
	}
	return ""
}
