package retain

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"permafrost/repo/cause"
	"permafrost/repo/ledger"
)

const (
	minPrefix     = 4 // hexadecimal digits of an ID
	shownDigits   = 8 // of an ID, where they tell it from the others
	maxCandidates = 8 // named in an error
)

// A Wish is what is wanted of a snapshot that is named by a date or as the latest.
type Wish struct {
	Components []Component // that it has, without doubt; none: any snapshot without doubt
	Whole      bool        // no component failed
}

// Doubted reports whether what is wanted of a snapshot is in doubt.
func (w *Wish) Doubted(v *Verdict) bool {
	return len(w.Components) == 0 && !v.Sound() || slices.ContainsFunc(w.Components, v.doubted)
}

// A Found snapshot is one that a name means.
type Found struct {
	ledger.SnapshotRef
	Over []ledger.SnapshotRef // newer ones that the name would mean as well, and that do not serve the wish; newest first
}

// Find returns the one of refs that a person names:
//
//	2026-06-27   the newest of that date
//	latest       the newest of all
//	latest~2     the second before it
//	ab12cd34     the one whose ID begins so; 4 digits or more
//
// Of a date, and as the latest, those count that serve the wish; where none does, all. Of a date that is wanted whole, one with
// all components goes before one that lacks any, be it by a setting. Dates and "latest" need refs of a single instance.
func Find(refs []ledger.SnapshotRef, verdicts Judgements, spec string, wish Wish) (Found, error) {
	back, isLatest, err := parseLatest(spec)
	if err != nil {
		return Found{}, err
	}
	_, err = time.Parse(time.DateOnly, spec)
	isDate := err == nil
	switch {
	case len(refs) == 0:
		return Found{}, cause.Errorf(cause.NoSnapshots, "there are no snapshots yet")
	case isDate || isLatest:
		if err := oneInstance(refs); err != nil {
			return Found{}, err
		}
		if isDate {
			if refs, err = ofDate(refs, spec); err != nil {
				return Found{}, err
			}
			if all := (Wish{Components: components}); wish.Whole && slices.ContainsFunc(refs, func(r ledger.SnapshotRef) bool { return all.served(&r, verdicts.Of(&r)) }) {
				wish = all
			}
		}
		return findLatest(refs, verdicts, spec, back, wish)
	default:
		ref, err := FindID(refs, spec)
		return Found{SnapshotRef: ref}, err
	}
}

// Lacks returns the components that are wanted, or any where all are, and that a snapshot does not have.
func (w *Wish) Lacks(h *ledger.Holding) (lacking []Component) {
	wanted := w.Components
	if w.Whole {
		wanted = components
	}
	for _, c := range wanted {
		if state := c.state(h); state != ledger.Captured && state != ledger.External {
			lacking = append(lacking, c)
		}
	}
	return lacking
}

// served reports whether a snapshot is what somebody wants.
func (w *Wish) served(ref *ledger.SnapshotRef, v *Verdict) bool {
	if w.Whole && !ref.Holding.Whole() {
		return false
	}
	part := Wish{Components: w.Components}
	return len(part.Lacks(&ref.Holding)) == 0 && !w.Doubted(v)
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
func oneInstance(refs []ledger.SnapshotRef) error {
	names := make(map[string]bool)
	for _, r := range refs {
		names[r.Instance] = true
	}
	if len(names) == 1 {
		return nil
	}
	return cause.Errorf(cause.SeveralInstances, "the repository holds snapshots of several instances: %s", strings.Join(slices.Sorted(maps.Keys(names)), ", "))
}

// findLatest returns the newest of refs that serves the wish, or the one so many before it.
func findLatest(refs []ledger.SnapshotRef, verdicts Judgements, spec string, back int, wish Wish) (Found, error) {
	sorted := slices.SortedFunc(slices.Values(refs), func(a, b ledger.SnapshotRef) int { return -compareAge(&a, &b) })
	serves := func(r ledger.SnapshotRef) bool { return wish.served(&r, verdicts.Of(&r)) }
	if !slices.ContainsFunc(sorted, serves) {
		serves = func(ledger.SnapshotRef) bool { return true }
	}
	var found Found
	n := 0
	for _, r := range sorted {
		switch {
		case !serves(r):
			found.Over = append(found.Over, r)
		case n == back:
			found.SnapshotRef = r
			return found, nil
		default:
			n++
		}
	}
	which := ""
	if len(found.Over) > 0 {
		which = " that will do"
	}
	return Found{}, fmt.Errorf("no snapshot %s: there are only %d%s, of which the oldest is latest~%d", spec, n, which, n-1)
}

// ofDate returns the snapshots of a date.
func ofDate(refs []ledger.SnapshotRef, date string) ([]ledger.SnapshotRef, error) {
	var found []ledger.SnapshotRef
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
			found = append(found, *r)
		}
	}
	switch {
	case len(found) > 0:
		return found, nil // even of a date to come: this machine's clock may be wrong
	case date > time.Now().AddDate(0, 0, 1).Format(time.DateOnly):
		return nil, fmt.Errorf("no snapshot of %s, which lies in the future: the last is of %s", date, max(before, after))
	case before == "":
		return nil, fmt.Errorf("no snapshot of %s: the first is of %s", date, after)
	case after == "":
		return nil, fmt.Errorf("no snapshot of %s: the last is of %s", date, before)
	}
	return nil, fmt.Errorf("no snapshot of %s: the nearest are of %s and %s", date, before, after)
}

// FindID returns the one of refs whose ID begins so.
func FindID(refs []ledger.SnapshotRef, spec string) (ledger.SnapshotRef, error) {
	prefix := strings.ToLower(spec)
	// A last single digit is no byte: it is checked as the first half of one.
	if _, err := hex.DecodeString(prefix + "0"[:len(prefix)%2]); err != nil || prefix == "" {
		return ledger.SnapshotRef{}, cause.Errorf(cause.NoSnapshotName, "%q names no snapshot", spec)
	}
	if len(prefix) < minPrefix {
		return ledger.SnapshotRef{}, fmt.Errorf("%q is too short for a snapshot's ID: give at least %d digits", spec, minPrefix)
	}
	var found []ledger.SnapshotRef
	for _, r := range refs {
		if strings.HasPrefix(r.ID.String(), prefix) {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 0:
		return ledger.SnapshotRef{}, cause.Errorf(cause.NoSnapshotID, "no snapshot's ID begins with %s", prefix)
	case 1:
		return found[0], nil
	}
	return ledger.SnapshotRef{}, ambiguous(prefix, found)
}

// ambiguous names the snapshots that prefix could mean, each by as much of its ID as tells it from the others.
func ambiguous(prefix string, found []ledger.SnapshotRef) error {
	slices.SortFunc(found, func(a, b ledger.SnapshotRef) int { return strings.Compare(a.ID.String(), b.ID.String()) })
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
