package retain

import (
	"fmt"

	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// A measure is a number in a snapshot's log entry of which a great loss is the loss of the instance.
//
// Redis has none: what it holds are queues, which come and go, and feeds, which Mastodon builds anew.
type measure struct {
	Component
	what  string
	bytes bool // a number of bytes
	of    func(*ledger.Holding) (n int64, known bool)

	few  int64 // a loss of fewer is none
	gone int64 // of so many or more to none is a loss, whatever few says; 0: never
}

// Below these a loss is the daily life of a tiny instance: somebody deletes an account with its posts and pictures. Where
// it is a real loss another measure shows it: a disk that is not mounted takes the files of all classes.
const (
	fewRows   = 100     // statuses that one account posts in weeks; a single-user instance knows some hundred accounts
	fewUsers  = 10      // users that a moderator removes in a day where there are a few dozen
	fewFiles  = 100     // an account's attachments; each picture is two files (original and small)
	fewBytes  = 1 << 20 // a picture from a telephone has 2 to 10 MB, what Mastodon makes of it some 300 kB
	goneFiles = 1       // Mastodon never empties its media: the owner's avatar is in them
	goneClass = 10      // an emoji is two files, an avatar two, the pictures of the site three each: one deletion is no class
)

// maxNumber is what no instance has of anything: an exabyte. What is above it, or below 0, is made up.
const maxNumber = 1 << 60

var measures = func() []measure {
	rows := func(table string, few, gone int64, of func(*ledger.Rows) int64) measure {
		return measure{Postgres, table, false, func(h *ledger.Holding) (int64, bool) {
			if h.Postgres.State != ledger.Captured || h.Postgres.Rows == nil {
				return 0, false
			}
			return of(h.Postgres.Rows), true
		}, few, gone}
	}
	all := []measure{
		rows("statuses", fewRows, 1, func(r *ledger.Rows) int64 { return r.Statuses }),
		rows("accounts", fewRows, 1, func(r *ledger.Rows) int64 { return r.Accounts }),
		rows("users", fewUsers, 1, func(r *ledger.Rows) int64 { return r.Users }),
		rows("media_attachments", fewRows, goneClass, func(r *ledger.Rows) int64 { return r.MediaAttachments }),
		{Postgres, "dump", true, func(h *ledger.Holding) (int64, bool) {
			// Where rows are counted they say more: a dump halves where other servers' preview cards are removed.
			return h.Postgres.Size, h.Postgres.State == ledger.Captured && h.Postgres.Rows == nil
		}, fewBytes, 1},
		{Media, "media", true, lasting(func(c *ledger.Class) int64 { return c.Size }, func(m *ledger.MediaHolding) int64 { return m.Size }), fewBytes, 0},
		{Media, "files", false, lasting(func(c *ledger.Class) int64 { return c.Files }, func(m *ledger.MediaHolding) int64 { return m.Files }), fewFiles, goneFiles},
	}
	for _, class := range lastingClasses {
		all = append(all, measure{Media, class, false, func(h *ledger.Holding) (int64, bool) {
			if h.Media.State != ledger.Captured || h.Media.Classes == nil {
				return 0, false
			}
			return h.Media.Classes[class].Files, true
		}, maxNumber, goneClass})
	}
	return all
}()

// lastingClasses are those that an instance has from its first users on and never gives up. Users' own archives are no
// such class: backups/ are kept for seven days, and imports/ until they are read.
var (
	lastingClasses = []string{"accounts", "media_attachments", "custom_emojis", "site_uploads"}
	passingClasses = []string{"backups", "imports"}
)

// lasting measures the media without what comes and goes by itself. An archive of one user may have more bytes than all
// pictures of a small instance.
func lasting(class func(*ledger.Class) int64, total func(*ledger.MediaHolding) int64) func(*ledger.Holding) (int64, bool) {
	return func(h *ledger.Holding) (int64, bool) {
		if h.Media.State != ledger.Captured {
			return 0, false
		}
		n := total(&h.Media)
		for _, name := range passingClasses {
			c := h.Media.Classes[name]
			if passing := class(&c); passing > 0 && passing <= n {
				n -= passing
			}
		}
		return n, true
	}
}

// most is the largest number of a measure since a person last confirmed a smaller one, and which snapshot has it.
type most struct {
	n  int64
	in store.Name
}

// lost reports whether n is a great loss.
func (m *measure) lost(largest *most, n int64) bool {
	return n < largest.n/2 && largest.n-n >= m.few || n == 0 && m.gone > 0 && largest.n >= m.gone
}

// baseline is the largest number of each measure, in the order of measures. To compare with the snapshot before alone would
// not do: each night could lose a third, and a few bad nights would make the next one look sound.
type baseline []most

// judge returns what a snapshot has too little of, and takes its numbers into account for those that follow. What a person has
// confirmed is the new measure of things, as far as it was in doubt.
func (b baseline) judge(ref *ledger.SnapshotRef, confirmed bool) (doubts []Doubt) {
	doubts = b.left(ref, confirmed)
	for i := range measures {
		m, largest := &measures[i], &b[i]
		n, known := m.of(&ref.Holding)
		switch {
		case !known:
			continue
		case n < 0 || n > maxNumber:
			doubts = append(doubts, Doubt{Component: m.Component, What: m.what, Why: fmt.Sprintf("its log entry has an impossible number: %s %d", m.what, n)})
			continue
		case m.lost(largest, n):
			doubts = append(doubts, Doubt{Component: m.Component, What: m.what, Bytes: m.bytes, Have: n, Had: largest.n, In: largest.in})
			if !confirmed {
				continue
			}
			*largest = most{n, ref.ID}
		}
		if n > largest.n {
			*largest = most{n, ref.ID}
		}
	}
	return doubts
}

// left returns which components were there and were left out, or moved elsewhere, by a setting: no setting explains that
// originals are missing. What failed is no doubt: it is not there, and the snapshot says so.
func (b baseline) left(ref *ledger.SnapshotRef, confirmed bool) (doubts []Doubt) {
	for _, comp := range []Component{Postgres, Media} {
		state := comp.state(&ref.Holding)
		if state != ledger.Skipped && state != ledger.External {
			continue
		}
		first := -1
		for i := range measures {
			if measures[i].Component != comp || b[i].n == 0 {
				continue
			}
			// The number of files says more than their bytes do.
			if first < 0 || measures[i].what == "files" {
				first = i
			}
		}
		if first < 0 {
			continue
		}
		m := &measures[first]
		d := Doubt{Component: comp, What: m.what, State: state, Bytes: m.bytes, Had: b[first].n, In: b[first].in}
		if comp == Media {
			d.Have = max(0, ref.Holding.Media.Local)
		}
		doubts = append(doubts, d)
		if !confirmed {
			continue
		}
		for i := range measures {
			if measures[i].Component == comp {
				b[i] = most{}
			}
		}
	}
	return doubts
}
