package snapshot

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"permafrost/internal/hint"
	"permafrost/repo"
)

const (
	minPrefix     = 4 // hexadecimal digits of an ID
	shownDigits   = 8 // of an ID, where they tell it from the others
	maxCandidates = 8 // named in an error
)

// Find returns the one of refs that a person names:
//
//	2026-06-27   the newest of that date
//	latest       the newest of all
//	latest~2     the second before it
//	ab12cd34     the one whose ID begins so; 4 digits or more
//
// Dates and "latest" need refs of a single instance.
func Find(refs []repo.SnapshotRef, spec string) (repo.SnapshotRef, error) {
	back, isLatest, err := parseLatest(spec)
	if err != nil {
		return repo.SnapshotRef{}, err
	}
	_, err = time.Parse(time.DateOnly, spec)
	isDate := err == nil
	switch {
	case len(refs) == 0:
		return repo.SnapshotRef{}, hint.Wrap(errors.New("there are no snapshots yet"), "make the first with: permafrost snapshot")
	case isDate || isLatest:
		if err := oneInstance(refs); err != nil {
			return repo.SnapshotRef{}, err
		}
		if isDate {
			return findDate(refs, spec)
		}
		return findLatest(refs, spec, back)
	default:
		return findPrefix(refs, spec)
	}
}

// parseLatest reads "latest" and "latest~N".
func parseLatest(spec string) (back int, ok bool, err error) {
	rest, ok := strings.CutPrefix(spec, "latest")
	if !ok || rest == "" {
		return 0, ok, nil
	}
	n, isTilde := strings.CutPrefix(rest, "~")
	back, err = strconv.Atoi(n)
	if !isTilde || err != nil || back < 0 {
		return 0, false, fmt.Errorf("%q names no snapshot: write latest, or latest~1 for the one before it", spec)
	}
	return back, true, nil
}

// oneInstance fails unless all of refs are of the same instance.
func oneInstance(refs []repo.SnapshotRef) error {
	names := make(map[string]bool)
	for _, r := range refs {
		names[r.Instance] = true
	}
	if len(names) == 1 {
		return nil
	}
	return hint.Wrap(fmt.Errorf("the repository holds snapshots of several instances: %s", strings.Join(slices.Sorted(maps.Keys(names)), ", ")),
		"say which one with --instance, or name the snapshot by its ID")
}

func findLatest(refs []repo.SnapshotRef, spec string, back int) (repo.SnapshotRef, error) {
	if back >= len(refs) {
		return repo.SnapshotRef{}, fmt.Errorf("no snapshot %s: there are only %d, of which the oldest is latest~%d", spec, len(refs), len(refs)-1)
	}
	sorted := slices.SortedFunc(slices.Values(refs), func(a, b repo.SnapshotRef) int { return -compareAge(&a, &b) })
	return sorted[back], nil
}

func findDate(refs []repo.SnapshotRef, date string) (repo.SnapshotRef, error) {
	var found *repo.SnapshotRef
	before, after := "", ""
	for i := range refs {
		switch r := &refs[i]; cmp.Compare(r.Date, date) {
		case -1:
			before = max(before, r.Date)
		case +1:
			if after == "" || r.Date < after {
				after = r.Date
			}
		default:
			if found == nil || compareAge(found, r) < 0 {
				found = r
			}
		}
	}
	switch {
	case found != nil:
		return *found, nil // even of a date to come: this machine's clock may be wrong
	case date > time.Now().AddDate(0, 0, 1).Format(time.DateOnly):
		return repo.SnapshotRef{}, fmt.Errorf("no snapshot of %s, which lies in the future: the last is of %s", date, max(before, after))
	case before == "":
		return repo.SnapshotRef{}, fmt.Errorf("no snapshot of %s: the first is of %s", date, after)
	case after == "":
		return repo.SnapshotRef{}, fmt.Errorf("no snapshot of %s: the last is of %s", date, before)
	}
	return repo.SnapshotRef{}, fmt.Errorf("no snapshot of %s: the nearest are of %s and %s", date, before, after)
}

func findPrefix(refs []repo.SnapshotRef, spec string) (repo.SnapshotRef, error) {
	prefix := strings.ToLower(spec)
	// A last single digit is no byte: it is checked as the first half of one.
	if _, err := hex.DecodeString(prefix + "0"[:len(prefix)%2]); err != nil || prefix == "" {
		return repo.SnapshotRef{}, hint.Wrap(fmt.Errorf("%q names no snapshot", spec),
			"name one by its date (2026-06-27), as latest or latest~1, or by its ID: permafrost snapshots lists them")
	}
	if len(prefix) < minPrefix {
		return repo.SnapshotRef{}, fmt.Errorf("%q is too short for a snapshot's ID: give at least %d digits", spec, minPrefix)
	}
	var found []repo.SnapshotRef
	for _, r := range refs {
		if strings.HasPrefix(r.ID.String(), prefix) {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 0:
		return repo.SnapshotRef{}, hint.Wrap(fmt.Errorf("no snapshot's ID begins with %s", prefix),
			"permafrost snapshots lists them")
	case 1:
		return found[0], nil
	}
	return repo.SnapshotRef{}, ambiguous(prefix, found)
}

// ambiguous names the snapshots that prefix could mean, each by as much of its ID as tells it from the others.
func ambiguous(prefix string, found []repo.SnapshotRef) error {
	slices.SortFunc(found, func(a, b repo.SnapshotRef) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	digits := max(len(prefix), shownDigits)
	for i := range found[1:] {
		a, b := found[i].ID.String(), found[i+1].ID.String()
		same := 0
		for same < len(a)-1 && a[same] == b[same] {
			same++
		}
		digits = max(digits, same+1)
	}
	var names []string
	for _, r := range found[:min(len(found), maxCandidates)] {
		names = append(names, fmt.Sprintf("%s (%s)", r.ID.String()[:digits], r.Date))
	}
	more := ""
	if n := len(found) - len(names); n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Errorf("%s could be any of %s%s", prefix, strings.Join(names, ", "), more)
}
