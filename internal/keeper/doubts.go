package keeper

import (
	"fmt"
	"slices"
	"strings"

	"permafrost/internal/escape"
	"permafrost/internal/units"
	"permafrost/repo/ledger"
	"permafrost/snapshot/retain"
)

// A Doubt is why a snapshot may not be what it says.
type Doubt struct {
	retain.Doubt
	Text string `json:"text"` // all of it in words
}

// Doubts returns the doubts of a verdict, never nil.
func Doubts(v *retain.Verdict) []Doubt {
	all := make([]Doubt, len(v.Doubts))
	for i := range v.Doubts {
		all[i] = Doubt{v.Doubts[i], doubtText(v, &v.Doubts[i])}
	}
	return all
}

// doubtText says what is wrong with a snapshot, of which "it" stands in the text: "its media have 7 B, where snapshot 99ff0011
// has 28.4 MiB". Of a snapshot that is no longer listed it has the date.
func doubtText(v *retain.Verdict, d *retain.Doubt) string {
	number := func(n int64) string {
		if d.Bytes {
			return units.Bytes(n)
		}
		return units.Count(n)
	}
	where := fmt.Sprintf("where snapshot %s has", d.In.Short())
	if date, forgotten := v.Forgotten(d.In); forgotten {
		where = fmt.Sprintf("where snapshot %s of %s, which is forgotten, had", d.In.Short(), escape.Name(date))
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
		return escape.Name(d.Why)
	case d.State == ledger.External && d.Have > 0:
		return fmt.Sprintf("its media are in object storage, %s; %s still below the media directory and not stored", there,
			map[bool]string{true: "1 file lies", false: number(d.Have) + " files lie"}[d.Have == 1])
	case d.State == ledger.External:
		return "its media are in object storage, " + there
	case d.State != "":
		return fmt.Sprintf("its %s %s left out by a setting, %s", d.Component, map[bool]string{true: "are", false: "is"}[d.Component == retain.Media], there+aside)
	case d.What == "files":
		return fmt.Sprintf("it has %s%s, %s", units.Plural(d.Have, "media file", "media files"), aside, strings.TrimSuffix(there, " files"))
	case d.What == "media":
		return fmt.Sprintf("its media have %s%s, %s", number(d.Have), aside, there)
	case d.What == "dump":
		return fmt.Sprintf("its dump has %s, %s", number(d.Have), there)
	case d.Component == retain.Media:
		return fmt.Sprintf("its media have %s below %s, %s %s", units.Plural(d.Have, "file", "files"), what, where, number(d.Had))
	}
	return fmt.Sprintf("its table %s has %s, %s %s", what, units.Plural(d.Have, "row", "rows"), where, number(d.Had))
}

// DoubtsText says all that is wrong with a snapshot, once for each component.
func DoubtsText(doubts []Doubt) string {
	var texts []string
	var told []retain.Component
	for i := range doubts {
		if d := &doubts[i]; !slices.Contains(told, d.Component) {
			told = append(told, d.Component)
			texts = append(texts, d.Text)
		}
	}
	return strings.Join(texts, "; and ")
}
