package snapshot

import (
	"errors"
	"fmt"
	"strings"

	"permafrost/repo/ledger"
	"permafrost/source"
	"permafrost/source/postgres/quote"
)

// holding is what the log says of the components.
func (m *Manifest) holding() ledger.Holding {
	return ledger.Holding{
		Secrets:  m.Secrets.State,
		Postgres: ledger.DatabaseHolding{State: m.Postgres.State, Size: m.Postgres.Size, Rows: m.Postgres.rows()},
		Redis:    m.redisState(),
		Media: ledger.MediaHolding{State: m.Media.State, Files: m.Media.Files - m.Media.CacheFiles, Size: m.Media.Size - m.Media.CacheSize,
			Classes: m.Media.Classes, Local: m.Media.Local},
	}
}

// rows counts the rows of the tables that a verdict looks at; nil where they were not counted.
func (p *Postgres) rows() *ledger.Rows {
	if p.Dump.Tables == nil {
		return nil
	}
	of := func(table string) int64 { return p.Dump.Tables[quote.TableName(p.Server.Schema, table)].Rows }
	return &ledger.Rows{Accounts: of("accounts"), Users: of("users"), Statuses: of("statuses"), MediaAttachments: of("media_attachments")}
}

// Rows returns how many rows the tables had that an instance is judged by, nil where they were not counted.
func (m *Manifest) Rows() *ledger.Rows { return m.Postgres.rows() }

// checkCounts returns an error for what no dump can hold.
func (p *Postgres) checkCounts() error {
	for name, t := range p.Dump.Tables {
		if t.Rows < 0 || t.Bytes < 0 || t.Offset < 0 || max(t.Rows, t.Bytes, t.Offset) > p.Size {
			return fmt.Errorf("table %.100q with %d rows of %d bytes", name, t.Rows, t.Bytes)
		}
	}
	if n := p.Dump.LargeObjects; n < 0 || n > p.Size || p.State != Captured && len(p.Dump.Tables) > 0 {
		return errors.New("impossible counts")
	}
	return nil
}

// redisState is the state of all Redis servers together: the worst of theirs.
func (m *Manifest) redisState() State {
	state := m.Redis.State
	if m.Sidekiq != nil && m.Sidekiq.State == Failed {
		state = Failed
	}
	return state
}

// An Absence is a part that a snapshot does not have, or not all of.
type Absence struct {
	Part   string // as Dump takes it
	State  State  // Skipped, Failed or Incomplete
	Reason string // why it failed or is incomplete
}

// String says why the part is absent.
func (a *Absence) String() string {
	switch a.State {
	case Skipped:
		return "it was skipped by a setting"
	case Incomplete:
		return "incomplete: " + a.Reason
	}
	return "it failed: " + a.Reason
}

// Component returns the component that the part is of.
func (a *Absence) Component() string {
	if a.Part == "sidekiq" {
		return "redis"
	}
	return a.Part
}

// Absent returns what the snapshot was to have and has not.
func (m *Manifest) Absent() (absent []Absence) {
	add := func(part string, state State, reason string) {
		if state == Skipped || state == Failed || state == Incomplete {
			absent = append(absent, Absence{part, state, reason})
		}
	}
	add("secrets", m.Secrets.State, m.Secrets.Reason)
	add("postgres", m.Postgres.State, m.Postgres.Reason)
	for name, r := range m.Redises {
		add(name, r.State, r.Reason)
	}
	add("media", m.Media.State, m.Media.Reason)
	return absent
}

// Holds reports whether the snapshot has anything of a component, or says where it is.
func (m *Manifest) Holds(component string) bool {
	switch component {
	case "secrets":
		return len(m.Secrets.Files) > 0
	case "postgres":
		return m.Postgres.State == Captured
	case "redis":
		return m.Redis.State == Captured || m.Sidekiq != nil && m.Sidekiq.State == Captured
	}
	return m.Media.State == Captured || m.Media.State == External
}

// Lacks returns an error where the snapshot does not have a part, as Dump takes it. Its cause is CauseElsewhere or CauseNowhere, by
// refs, the snapshots that there are.
func (m *Manifest) Lacks(refs []ledger.SnapshotRef, part string) error {
	part, _, _ = strings.Cut(part, "/")
	for _, a := range m.Absent() {
		if a.Part != part {
			continue
		}
		err := fmt.Errorf("the snapshot has no %s: %v", part, &a)
		other, ok := m.Nearest(refs, part)
		if !ok {
			return source.Because(CauseNowhere, err, m.Instance)
		}
		return source.Because(CauseElsewhere, err, other.ID.Short(), other.Date)
	}
	return nil
}

// Nearest returns, of refs, the snapshot of the same instance that has a part and was made at the time nearest to this one's.
func (m *Manifest) Nearest(refs []ledger.SnapshotRef, part string) (best ledger.SnapshotRef, found bool) {
	for _, ref := range refs {
		if ref.Instance == m.Instance && has(&ref.Holding, part) && !ref.Time.Equal(m.Created) &&
			(!found || ref.Time.Sub(m.Created).Abs() < best.Time.Sub(m.Created).Abs()) {
			best, found = ref, true
		}
	}
	return best, found
}

// has reports whether a snapshot has a component, or a Redis.
func has(h *ledger.Holding, component string) bool {
	return map[string]State{"secrets": h.Secrets, "postgres": h.Postgres.State, "redis": h.Redis, "sidekiq": h.Redis, "media": h.Media.State}[component] == Captured
}

// MaxReason bounds why a component failed, in bytes.
const MaxReason = 4 << 10

// checkState returns an error for a state that a component can't have, or a reason where none belongs.
func checkState(state State, reason string) error {
	switch {
	case state != Captured && state != Skipped && state != Failed && state != External && state != Incomplete:
		return fmt.Errorf("state %q", state)
	case (state == Failed || state == Incomplete) != (reason != "") || len(reason) > MaxReason:
		return fmt.Errorf("state %q with a reason of %d bytes", state, len(reason))
	}
	return nil
}

// checkStream returns an error for a stream that is missing, or is where its component's state says that there is none.
func checkStream(state State, reason string, s *Stream) error {
	if err := checkState(state, reason); err != nil {
		return err
	}
	switch empty := s.Size == 0 && s.Recipe.Size == 0 && s.Recipe.Depth == 0 && len(s.Recipe.Root) == 0; {
	case state == External || state == Incomplete:
		return fmt.Errorf("state %q", state)
	case state == Captured && s.Size == 0:
		return errors.New("empty")
	case state != Captured && !empty:
		return fmt.Errorf("state %q with a content", state)
	}
	return s.check()
}
