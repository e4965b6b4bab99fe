package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"permafrost/internal/hint"
	"permafrost/repo"
	"permafrost/snapshot/retain"
)

// A suspectError says that a snapshot was made, and looks wrong.
type suspectError struct{ err error }

func (e *suspectError) Error() string { return e.err.Error() }
func (e *suspectError) Unwrap() error { return e.err }

// A doubtLine is a doubt as JSON tells it.
type doubtLine struct {
	retain.Doubt
	Text string `json:"text"`
}

func doubtLines(v *retain.Verdict) []doubtLine {
	lines := make([]doubtLine, len(v.Doubts))
	for i := range v.Doubts {
		lines[i] = doubtLine{v.Doubts[i], doubtText(v, &v.Doubts[i])}
	}
	return lines
}

// doubtText says what is wrong with a snapshot, of which "it" stands in the text: "its media have 7 B, where snapshot 99ff0011
// has 28.4 MiB". Of a snapshot that is no longer listed it has the date.
func doubtText(v *retain.Verdict, d *retain.Doubt) string {
	number := func(n int64) string {
		if d.Bytes {
			return size(n).String()
		}
		return formatCount(n)
	}
	where := fmt.Sprintf("where snapshot %s has", d.In.Short())
	if date, gone := v.Forgotten(d.In); gone {
		where = fmt.Sprintf("where snapshot %s of %s, which is forgotten, had", d.In.Short(), printable(date))
	}
	there := where + " " + number(d.Had)
	what, aside := d.What, ""
	switch what {
	case "files":
		there += " files"
		aside = " (not counting the cache)"
	case "media":
		aside = " (not counting the cache)"
	case "dump":
	default:
		there += " in " + what
	}
	switch {
	case d.Why != "":
		return printable(d.Why)
	case d.State == repo.External && d.Have > 0:
		return fmt.Sprintf("its media are in object storage, %s; %s still below the media directory and not stored", there,
			map[bool]string{true: "1 file lies", false: number(d.Have) + " files lie"}[d.Have == 1])
	case d.State == repo.External:
		return "its media are in object storage, " + there
	case d.State != "":
		return fmt.Sprintf("its %s %s left out by a setting, %s", d.Component, map[bool]string{true: "are", false: "is"}[d.Component == retain.Media], there+aside)
	case d.What == "files":
		return fmt.Sprintf("it has %s%s, %s", plural(d.Have, "media file", "media files"), aside, strings.TrimSuffix(there, " files"))
	case d.What == "media":
		return fmt.Sprintf("its media have %s%s, %s", number(d.Have), aside, there)
	case d.What == "dump":
		return fmt.Sprintf("its dump has %s, %s", number(d.Have), there)
	case d.Component == retain.Media:
		return fmt.Sprintf("its media have %s below %s, %s %s", plural(d.Have, "file", "files"), what, where, number(d.Had))
	}
	return fmt.Sprintf("its table %s has %s, %s %s", what, plural(d.Have, "row", "rows"), where, number(d.Had))
}

// doubtsText says all that is wrong with a snapshot, once for each component.
func doubtsText(v *retain.Verdict) string {
	var texts []string
	var told []retain.Component
	for i := range v.Doubts {
		d := &v.Doubts[i]
		if !slices.Contains(told, d.Component) {
			told = append(told, d.Component)
			texts = append(texts, doubtText(v, d))
		}
	}
	return strings.Join(texts, "; and ")
}

// looksWrong says that a snapshot is in doubt, and why.
func looksWrong(ref *repo.SnapshotRef, v *retain.Verdict) string {
	return fmt.Sprintf("snapshot %s looks wrong: %s", ref.ID.Short(), doubtsText(v))
}

// whatToDo is the hint for snapshots in doubt.
func whatToDo(id repo.Name) string {
	return fmt.Sprintf("if the instance really is like that: permafrost confirm %s; if not, find out why, and remove the snapshot: permafrost forget %s", id.Short(), id.Short())
}

// doubtful returns the error for a snapshot that was just made, if it is in doubt.
func doubtful(ref *repo.SnapshotRef, v *retain.Verdict) error {
	if v.Sound() {
		return nil
	}
	return hint.Wrap(&suspectError{errors.New(looksWrong(ref, v))}, whatToDo(ref.ID))
}

// tellDoubts tells of each snapshot in doubt, in one line, and by how much the storage's clock is off where nobody was told.
func (a *app) tellDoubts(refs []repo.SnapshotRef, verdicts retain.Judgements) {
	var last *repo.SnapshotRef
	for i := range refs {
		ref := &refs[i]
		v := verdicts.Of(ref)
		if v.Sound() {
			continue
		}
		last = ref
		a.ui.JSON("suspect", struct {
			snapshotLine
			Doubts []doubtLine `json:"doubts"`
		}{newSnapshotLine(ref), doubtLines(v)})
		a.ui.Warn("%s", looksWrong(ref, v))
	}
	if last != nil {
		a.ui.Hint(whatToDo(last.ID))
	}
	a.tellClock(verdicts)
}

// tellClock says by how much the storage's clock is off, where no log entry has it.
func (a *app) tellClock(verdicts retain.Judgements) {
	for _, j := range verdicts {
		if off, news := j.Clock(); news {
			a.ui.Warn("the storage's clock is %s: retention allows for that", off)
			return
		}
	}
}
