package retain

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// A life is two instances' nights in one repository, at random: good and shrinking ones, partial, failing and lying ones,
// settings that come and go, policies, forgets by name, confirmations, copies. It holds what a log holds.
type life struct {
	rng   *rand.Rand
	now   time.Time
	off   time.Duration // by which the storage's clock is ahead
	seq   uint64
	first ledger.Moment
	homes [2]*home
}

// A home is one of the instances.
type home struct {
	name     string
	bound    bool           // its writer may not forget
	hostile  bool           // its writer has lied
	interval time.Duration  // from one snapshot to the next
	has      ledger.Holding // what the instance really has
	skip     map[Component]bool
	external bool
	log      ledger.Chronicle
	honest   map[store.Name]bool
	policy   Policy // of its owner
}

func newLife(seed uint64) *life {
	l := &life{rng: rand.New(rand.NewPCG(seed, 11)), now: time.Date(2026, 1, 1, 3, 0, 0, 0, time.UTC)}
	l.off = []time.Duration{0, 0, 0, 2 * time.Hour, -2 * time.Hour, 30 * aDay, -20 * 365 * aDay}[l.rng.IntN(7)]
	l.first = ledger.Moment{Signed: l.now, Logged: l.now.Add(l.off)}
	for i := range l.homes {
		h := &home{name: []string{"a.example", "b.example"}[i], skip: make(map[Component]bool), honest: make(map[store.Name]bool), policy: randomPolicy(l.rng)}
		h.bound = l.rng.IntN(3) == 0
		h.interval = []time.Duration{10 * time.Minute, time.Hour, 6 * time.Hour, aDay, aDay, aDay, aDay, 7 * aDay, 31 * aDay}[l.rng.IntN(9)]
		h.policy.AllowRemoveAll = false
		scale := int64(1) << l.rng.IntN(30)
		h.has = ledger.Holding{Secrets: ledger.Captured, Redis: ledger.Captured,
			Postgres: ledger.DatabaseHolding{State: ledger.Captured, Size: 1 << 20 * scale},
			Media:    ledger.MediaHolding{State: ledger.Captured, Files: 3 * scale, Size: 1 << 20 * scale}}
		if l.rng.IntN(4) > 0 {
			h.has.Postgres.Rows = &ledger.Rows{Accounts: 40 * scale, Users: 1 + scale/8, Statuses: 100 * scale, MediaAttachments: 5 * scale}
			h.has.Media.Classes = map[string]ledger.Class{"accounts": {Files: scale, Size: 1 << 18 * scale}, "media_attachments": {Files: scale, Size: 1 << 18 * scale},
				"custom_emojis": {Files: scale / 2, Size: 1 << 8}, "backups": {Files: scale / 4, Size: 1 << 17 * scale}}
		}
		h.log = ledger.Chronicle{Forgotten: make(map[store.Name]uint64), Confirmed: make(map[store.Name]bool), First: l.first,
			Recorded: ledger.Recorded{Doubts: make(map[store.Name]string)}}
		l.homes[i] = h
	}
	return l
}

// clone returns a holding of its own.
func clone(h ledger.Holding) ledger.Holding {
	if h.Postgres.Rows != nil {
		rows := *h.Postgres.Rows
		h.Postgres.Rows = &rows
	}
	h.Media.Classes = maps.Clone(h.Media.Classes)
	return h
}

// scaled returns a holding of so many thousandths in the components that are named.
func scaled(h ledger.Holding, thousandths int64, of ...Component) ledger.Holding {
	h = clone(h)
	times := func(n int64) int64 { return int64(float64(n) * float64(thousandths) / 1000) }
	if slices.Contains(of, Postgres) {
		h.Postgres.Size = times(h.Postgres.Size)
		if r := h.Postgres.Rows; r != nil {
			*r = ledger.Rows{Accounts: times(r.Accounts), Users: times(r.Users), Statuses: times(r.Statuses), MediaAttachments: times(r.MediaAttachments)}
		}
	}
	if slices.Contains(of, Media) {
		h.Media.Files, h.Media.Size = times(h.Media.Files), times(h.Media.Size)
		for name, c := range h.Media.Classes {
			h.Media.Classes[name] = ledger.Class{Files: times(c.Files), Size: times(c.Size)}
		}
	}
	return h
}

func (l *life) some() []Component {
	return [][]Component{{Postgres}, {Media}, {Postgres, Media}}[l.rng.IntN(3)]
}

// commit adds a snapshot to an instance's log.
func (l *life) commit(h *home, holding ledger.Holding, change func(*ledger.SnapshotRef)) {
	l.seq++
	r := ledger.SnapshotRef{Seq: l.seq, ID: store.Name{byte(l.seq >> 16), byte(l.seq >> 8), byte(l.seq), 7}, Writer: "web1", Bound: h.bound}
	run := time.Duration(l.rng.Int64N(int64(min(h.interval, longestRun))))
	r.Instance, r.Time, r.Date, r.Holding = h.name, l.now, l.now.Format(time.DateOnly), holding
	r.Signed, r.Logged = l.now.Add(run), l.now.Add(run+l.off)
	if l.rng.IntN(8) == 0 {
		r.Partial = 1
	}
	if l.rng.IntN(20) == 0 {
		r.Tags = []string{[]string{"a", "b", "c"}[l.rng.IntN(3)]}
	}
	h.honest[r.ID] = change == nil
	if change != nil {
		change(&r)
	}
	h.log.Snapshots = append(h.log.Snapshots, r)
}

// night makes a snapshot of what the instance has, as its settings say.
func (l *life) night(h *home, holding ledger.Holding) {
	holding = clone(holding)
	states := map[Component]*ledger.State{Secrets: &holding.Secrets, Postgres: &holding.Postgres.State, Redis: &holding.Redis, Media: &holding.Media.State}
	lose := func(c Component, s ledger.State) {
		switch *states[c] = s; c {
		case Postgres:
			holding.Postgres = ledger.DatabaseHolding{State: s}
		case Media:
			holding.Media = ledger.MediaHolding{State: s}
		}
	}
	for _, c := range components {
		if h.skip[c] {
			lose(c, ledger.Skipped)
		} else if l.rng.IntN(25) == 0 {
			lose(c, ledger.Failed)
		}
	}
	if h.external {
		lose(Media, ledger.External)
		holding.Media.Local = l.rng.Int64N(2) * h.has.Media.Files
	}
	l.commit(h, holding, nil)
}

// lie is what a writer that was taken over commits.
func (l *life) lie(h *home) {
	h.hostile = true
	many := 1
	if l.rng.IntN(4) == 0 {
		many = 2 + l.rng.IntN(12)
	}
	kind := l.rng.IntN(8)
	for range many {
		holding := clone(h.has)
		l.commit(h, holding, func(r *ledger.SnapshotRef) {
			shift := time.Duration(l.rng.Int64N(int64(60 * aDay)))
			switch kind {
			case 0: // a flood under true times
			case 1:
				r.Time, r.Signed = r.Time.Add(shift), r.Signed.Add(shift)
			case 2:
				r.Time, r.Signed = r.Time.Add(-shift), r.Signed.Add(-shift)
			case 3:
				r.Time = r.Time.Add(-shift)
			case 4:
				r.Holding = scaled(holding, []int64{0, 1, 100, 3000, -1, 1 << 40}[l.rng.IntN(6)], l.some()...)
			case 5:
				r.Holding.Media.Files, r.Holding.Media.Size = math.MaxInt64, math.MinInt64
				r.Holding.Media.Classes = map[string]ledger.Class{"backups": {Files: math.MaxInt64, Size: math.MaxInt64}, "imports": {Files: math.MinInt64}}
			case 6:
				r.Holding.Secrets, r.Holding.Redis, r.Holding.Media.State = "", "?", "captured "
			case 7:
				r.Date = []string{"", "2001-01-01", "9999-12-31", r.Time.Add(shift).Format(time.DateOnly)}[l.rng.IntN(4)]
				return
			}
			if kind < 4 {
				r.Date = r.Time.Format(time.DateOnly)
			}
		})
	}
}

// listed returns the snapshots that are not forgotten.
func (h *home) listed() []ledger.SnapshotRef {
	return slices.DeleteFunc(slices.Clone(h.log.Snapshots), func(r ledger.SnapshotRef) bool { _, gone := h.log.Forgotten[r.ID]; return gone })
}

// forget forgets snapshots, and records as the command does.
func (l *life) forget(h *home, ids []store.Name) {
	l.seq++
	for _, id := range ids {
		h.log.Forgotten[id] = l.seq
	}
	l.record(h)
}

func (l *life) record(h *home) {
	rec := Judge(&h.log).Record(h.name, l.seq-1)
	for _, d := range rec.Doubts {
		h.log.Doubts[d.Snapshot] = d.Why
	}
	h.log.Through, h.log.Clock = rec.Through, rec.Clock
}

// copy gives every object a new time by the clock of another storage.
func (l *life) copy() {
	l.off = 0
	at := l.now
	for _, h := range l.homes {
		h.log.First.Logged = at
		for i := range h.log.Snapshots {
			at = at.Add(time.Second)
			h.log.Snapshots[i].Logged = at
		}
	}
	l.now = at
}

// step is what happens next to an instance.
func (l *life) step(h *home) {
	l.now = l.now.Add(h.interval)
	switch n := l.rng.IntN(40); {
	case n < 18:
		h.has = scaled(h.has, 1000+l.rng.Int64N(30), Postgres, Media)
		l.night(h, h.has)
	case n < 22: // the disk is not mounted, the database is another
		l.night(h, scaled(h.has, l.rng.Int64N(500), l.some()...))
	case n < 23: // something goes wrong little by little, or is right
		h.has = scaled(h.has, 600, l.some()...)
		l.night(h, h.has)
	case n < 25:
		l.lie(h)
	case n < 26:
		c := components[l.rng.IntN(4)]
		h.skip[c] = !h.skip[c]
	case n < 27:
		h.external = !h.external
	case n < 29:
		if listed := h.listed(); len(listed) > 0 {
			l.forget(h, []store.Name{listed[l.rng.IntN(len(listed))].ID})
		}
	case n < 32:
		if listed := h.listed(); len(listed) > 0 {
			id := listed[l.rng.IntN(len(listed))].ID
			l.seq++
			if h.log.Confirmed[id] = !h.log.Confirmed[id]; !h.log.Confirmed[id] {
				delete(h.log.Confirmed, id)
			}
			l.record(h)
		}
	case n < 33:
		l.seq++
		l.record(h) // a prune
	}
}

// verdicts are what is thought of each snapshot that an instance ever had.
func (h *home) verdicts() map[store.Name]*Verdict { return Judge(&h.log).verdicts }
