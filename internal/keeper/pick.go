package keeper

import (
	"context"
	"slices"
	"strings"

	"permafrost/internal/escape"
	"permafrost/internal/units"
	"permafrost/repo"
	"permafrost/repo/ledger"
	"permafrost/snapshot"
	"permafrost/snapshot/retain"
)

// A Selection is a part of a repository's snapshots.
type Selection struct {
	Instance string   // only those of this one; "" for all
	Tags     []string // only those that have all of these
}

// Of returns the snapshots that are selected, in their order.
func (s *Selection) Of(refs []ledger.SnapshotRef) []ledger.SnapshotRef {
	return slices.DeleteFunc(slices.Clone(refs), func(r ledger.SnapshotRef) bool {
		missing := func(tag string) bool { return !slices.Contains(r.Tags, tag) }
		return s.Instance != "" && r.Instance != s.Instance || slices.ContainsFunc(s.Tags, missing)
	})
}

// Snapshots returns the snapshots that are selected, in the order in which they were committed.
func Snapshots(r *repo.Repo, s Selection) []Listed {
	refs := s.Of(r.Snapshots())
	verdicts := retain.JudgeAll(r, refs)
	all := make([]Listed, len(refs))
	for i := range refs {
		all[i] = NewListed(&refs[i], verdicts.Of(&refs[i]))
	}
	return all
}

// A Choice is a selection, and one snapshot of it by name.
type Choice struct {
	Selection
	Name string // as [retain.Find] reads it
}

// pick returns the snapshot that is chosen, for the sake of a wish. It tells which it passes over, and where what it returns looks
// wrong.
func (c *Choice) pick(r *repo.Repo, wish retain.Wish, news Observer) (ledger.SnapshotRef, error) {
	refs := c.Of(r.Snapshots())
	verdicts := retain.JudgeAll(r, refs)
	found, err := retain.Find(refs, verdicts, c.Name, wish)
	if err != nil {
		return found.SnapshotRef, err
	}
	tellSkipped(found.Over, verdicts, &wish, news)
	if v := verdicts.Of(&found.SnapshotRef); wish.Doubted(v) {
		news.Found(finding(Notable, Suspicion(&found.SnapshotRef, v)))
	}
	return found.SnapshotRef, nil
}

// tellSkipped says why newer snapshots do not serve the wish.
func tellSkipped(over []ledger.SnapshotRef, verdicts retain.Judgements, wish *retain.Wish, news Observer) {
	const most = 5
	for i := range over {
		ref := &over[i]
		if i == most {
			news.Found(warning("%s more are skipped", units.Count(int64(len(over)-most))))
			break
		}
		why := "it lacks " + joined(wish.Lacks(&ref.Holding))
		if v := verdicts.Of(ref); wish.Doubted(v) {
			why = "it looks wrong: " + DoubtsText(Doubts(v))
		}
		news.Found(warning("snapshot %s of %s is skipped: %s", ref.ID.Short(), escape.Name(ref.Date), why))
	}
}

// joined lists components.
func joined(of []retain.Component) string {
	names := make([]string, len(of))
	for i, c := range of {
		names[i] = string(c)
	}
	return strings.Join(names, ", ")
}

// manifest returns the snapshot that is chosen for the sake of a part of it, with its manifest.
func (c *Choice) manifest(ctx context.Context, r *repo.Repo, part string, news Observer) (ledger.SnapshotRef, *snapshot.Manifest, error) {
	ref, err := c.pick(r, wishFor(part), news)
	if err != nil {
		return ref, nil, err
	}
	m, err := snapshot.Load(ctx, r, ref)
	return ref, m, err
}

// wishFor returns what is wanted of a snapshot for the sake of a part of it, by the names that List lists; "" is no part.
func wishFor(part string) retain.Wish {
	first, _, _ := strings.Cut(part, "/")
	switch first {
	case "":
		return retain.Wish{}
	case "sidekiq":
		first = string(retain.Redis)
	}
	return retain.Wish{Components: []retain.Component{retain.Component(first)}}
}

// Show returns all about a snapshot. Its errors are those of [retain.Find] and [snapshot.Load].
func Show(ctx context.Context, r *repo.Repo, c Choice, news Observer) (*Manifest, error) {
	ref, m, err := c.manifest(ctx, r, "", news)
	if err != nil {
		return nil, err
	}
	v := retain.JudgeAll(r, []ledger.SnapshotRef{ref}).Of(&ref)
	return &Manifest{Ref: ref, ID: ref.ID.String(), Confirmed: v.Confirmed, Doubts: Doubts(v), Manifest: m}, nil
}
