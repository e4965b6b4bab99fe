package repo

import (
	"context"
	"fmt"
	"slices"

	"permafrost/internal/hint"
)

// A Judgement says, in the entry of a forget, what was thought of some instances' snapshots before a policy removed any.
type Judgement struct {
	Through   uint64   `json:"through"`             // number of the newest log entry that was known
	Sound     []string `json:"sound,omitempty"`     // instances of whose snapshots none looked wrong
	Confirmed []string `json:"confirmed,omitempty"` // those of which some did, and a person has taken them for good
}

// A Chronicle is what the log says of an instance's snapshots, the forgotten ones among them: log entries are never
// deleted, so that what is thought of a snapshot does not hang on which others are still listed.
type Chronicle struct {
	Snapshots []SnapshotRef   // all ever, in the order they were committed
	Forgotten map[Name]uint64 // to the entry that forgot it
	Marks
}

// Marks are numbers of log entries up to which an instance's snapshots were looked at.
type Marks struct {
	Judged    uint64 // a policy has found nothing wrong, or a person has confirmed it
	Confirmed uint64 // a person has confirmed what looked wrong
}

// Chronicle returns what the log says of an instance's snapshots.
func (r *Repo) Chronicle(instance string) Chronicle {
	c := Chronicle{Forgotten: make(map[Name]uint64), Marks: r.log.judged[instance]}
	for _, s := range r.log.snapshots {
		if s.Instance != instance {
			continue
		}
		c.Snapshots = append(c.Snapshots, s)
		if seq, gone := r.log.forgotten[s.ID]; gone {
			c.Forgotten[s.ID] = seq
		}
	}
	return c
}

// Forget takes snapshots off the list. What only they need goes with the next prune. It judges no snapshot that stays.
func (r *Repo) Forget(ctx context.Context, ids []Name) error {
	if len(ids) == 0 {
		return nil
	}
	return r.forget(ctx, &ForgetEntry{Snapshots: ids})
}

// ForgetJudged is Forget for what a policy removes. It records what was looked at before, for which there need not be
// anything to remove.
func (r *Repo) ForgetJudged(ctx context.Context, ids []Name, j Judgement) error {
	if len(ids) == 0 && len(j.Confirmed) == 0 {
		return nil
	}
	return r.forget(ctx, &ForgetEntry{ids, &j})
}

func (r *Repo) forget(ctx context.Context, f *ForgetEntry) error {
	return r.publishOnFull(ctx, &Entry{Forget: f}, func(h *history) error {
		live := h.live()
		for _, id := range f.Snapshots {
			if !slices.ContainsFunc(live, func(s SnapshotRef) bool { return s.ID == id }) {
				return fmt.Errorf("snapshot %s is not there", id.Short())
			}
		}
		if why := h.mayForget(h.scope(r.key.verifyKey()), h.next, f); why != "" {
			return hint.Wrap(fmt.Errorf("%w: %s", ErrNotAllowed, why), "forget with the owner key: -i RECOVERY-FILE")
		}
		return nil
	})
}

// mayForget returns why the entry seq may not forget and judge what f says by that signer, or "".
func (h *history) mayForget(by scope, seq uint64, f *ForgetEntry) string {
	if !by.owner && !by.person.MayForget {
		return "the roster does not let this writer forget"
	}
	for _, id := range f.Snapshots {
		i, ok := h.byID[id]
		switch {
		case !ok:
			return fmt.Sprintf("there is no snapshot %s to forget", id.Short())
		case !by.serves(h.snapshots[i].Instance):
			return fmt.Sprintf("a writer for %s wants to forget a snapshot of %s", by.person.Instance, h.snapshots[i].Instance)
		}
	}
	if f.Judged == nil {
		return ""
	}
	if f.Judged.Through >= seq {
		return "it judges snapshots that come after it"
	}
	for _, instance := range slices.Concat(f.Judged.Sound, f.Judged.Confirmed) {
		if !by.serves(instance) {
			return fmt.Sprintf("a writer for %s wants to judge the snapshots of %s", by.person.Instance, instance)
		}
	}
	return ""
}

// applyForget takes a forget into account.
func (h *history) applyForget(by scope, seq uint64, f *ForgetEntry) (why string) {
	if why := h.mayForget(by, seq, f); why != "" {
		return why
	}
	for _, id := range f.Snapshots {
		if _, again := h.forgotten[id]; !again {
			h.forgotten[id] = seq
		}
	}
	if f.Judged == nil {
		return ""
	}
	for _, instance := range slices.Concat(f.Judged.Sound, f.Judged.Confirmed) {
		m := h.judged[instance]
		m.Judged = max(m.Judged, f.Judged.Through)
		h.judged[instance] = m
	}
	for _, instance := range f.Judged.Confirmed {
		m := h.judged[instance]
		m.Confirmed = max(m.Confirmed, f.Judged.Through)
		h.judged[instance] = m
	}
	return ""
}
