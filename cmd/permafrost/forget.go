package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"permafrost/internal/hint"
	"permafrost/repo"
	"permafrost/snapshot"
)

func (a *app) forgetCommand() *cobra.Command {
	var (
		policy policyFlags
		pick   selection
		clean  pruneFlags
		prune  bool
		dryRun bool
		force  bool
	)
	cmd := &cobra.Command{
		Use:   "forget [SNAP]...",
		Short: "remove snapshots by a policy, or by name",
		Long: `Forget takes snapshots off the list: all that the policy keeps for no reason, or
those that are named. Their content goes with the next prune.

A snapshot stays where any of the --keep flags keeps it, each instance being
judged by itself. Days, weeks, months and years go by the snapshot's date, of
which the newest snapshot is kept; a number of -1 or "all" means every one. A
partial snapshot never pushes out the last complete one. Without --keep flags the
table [keep] of the configuration is the policy.

A policy believes the dates that a host gives its snapshots. So it removes nothing
of an instance whose snapshots, since something was last forgotten, contradict the
storage's clock or each other, came in a flood, or hold less than half of the one
before: it names them, and --force says that they were looked at.`,
		Example: `  permafrost forget --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --prune
  permafrost forget --keep-within 30d --keep-tag before-upgrade --dry-run
  permafrost forget ab12cd34`,
		RunE: func(cmd *cobra.Command, specs []string) error {
			policy := policy.policy()
			if len(specs) > 0 && policyGiven(cmd.Flags()) {
				return usagef("forget takes either snapshots or a policy")
			}
			if len(specs) == 0 && policy.Empty() {
				return noPolicy()
			}
			r, err := a.open(cmd.Context(), anyKey)
			if err != nil {
				return err
			}
			defer r.Close()
			refs := pick.of(r.Snapshots())
			var decisions []snapshot.Decision
			if len(specs) > 0 {
				decisions, err = decide(refs, specs)
			} else {
				decisions, err = policy.Apply(refs, time.Now())
				if err == nil {
					err = a.heedSuspects(cmd.Context(), r, decisions, force || dryRun)
				}
			}
			if err != nil {
				return err
			}
			if err := a.forget(cmd.Context(), r, decisions, dryRun); err != nil || !prune {
				return err
			}
			return a.prune(cmd.Context(), r, repo.PruneOptions{MaxUnused: float64(clean.maxUnused), DryRun: dryRun})
		},
	}
	policy.flags(cmd.Flags())
	pick.flags(cmd)
	clean.flags(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "apply the policy though snapshots look wrong")
	cmd.Flags().BoolVar(&prune, "prune", false, "prune afterwards")
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "only tell what would be removed")
	return cmd
}

// heedSuspects names the suspects of every instance of which the policy would remove something, and returns an error
// where there are any, unless all is to go on.
func (a *app) heedSuspects(ctx context.Context, r *session, decisions []snapshot.Decision, goOn bool) error {
	shrinking := make(map[string]bool) // instances of which something is to go
	for i := range decisions {
		if !decisions[i].Keep() {
			shrinking[decisions[i].Snapshot.Instance] = true
		}
	}
	suspects := 0
	for _, instance := range slices.Sorted(maps.Keys(shrinking)) {
		found, err := suspectsOf(ctx, r, instance)
		if err != nil {
			return err
		}
		for _, s := range found {
			suspects++
			a.ui.JSON("suspect", struct {
				snapshotLine
				Why string `json:"why"`
			}{newSnapshotLine(&s.Snapshot), s.Why})
			a.ui.Warn("snapshot %s by %s %s", s.Snapshot.ID.Short(), printable(s.Snapshot.Writer), printable(s.Why))
		}
	}
	if suspects == 0 || goOn {
		return nil
	}
	return hint.Wrap(fmt.Errorf("nothing is forgotten: there are doubts about %s", plural(int64(suspects), "snapshot", "snapshots")),
		"look at them with `permafrost show`; remove bad ones by their IDs, or say --force where all is well")
}

// suspectsOf returns the snapshots of an instance that came since something was last forgotten and look wrong.
func suspectsOf(ctx context.Context, r *session, instance string) ([]snapshot.Suspicion, error) {
	whole := selection{instance: instance} // whatever their tags
	refs := whole.of(r.Snapshots())
	found := snapshot.Suspects(refs, r.LastForget())
	slices.SortFunc(refs, func(a, b repo.SnapshotRef) int { return cmp.Compare(a.Seq, b.Seq) })
	var before *snapshot.Manifest
	for i, ref := range refs {
		if i+1 < len(refs) && refs[i+1].Seq <= r.LastForget() {
			continue // neither new nor the one before a new one
		}
		m, err := snapshot.Load(ctx, r.Repo, ref)
		if d := (*repo.DamageError)(nil); errors.As(err, &d) {
			found = append(found, snapshot.Suspicion{Snapshot: ref, Why: "can't be read: " + err.Error()})
			continue
		}
		if err != nil {
			return nil, err
		}
		if before != nil && ref.Seq > r.LastForget() {
			if why := snapshot.Shrunk(before, m); why != "" {
				found = append(found, snapshot.Suspicion{Snapshot: ref, Why: why})
			}
		}
		before = m
	}
	return found, nil
}

func noPolicy() error {
	return hint.Wrap(usagef("forget needs a policy, or the names of snapshots"),
		"say what to keep, for example --keep-daily 7 --keep-weekly 4 --keep-monthly 12")
}

// decide removes the snapshots that specs name, and keeps the rest.
func decide(refs []repo.SnapshotRef, specs []string) ([]snapshot.Decision, error) {
	decisions := make([]snapshot.Decision, len(refs))
	for i, r := range refs {
		decisions[i] = snapshot.Decision{Snapshot: r, Reasons: []string{"not named"}}
	}
	for _, spec := range specs {
		found, err := snapshot.Find(refs, spec)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(refs, func(r repo.SnapshotRef) bool { return r.ID == found.ID })
		decisions[i].Reasons = nil
	}
	return decisions, nil
}

// forget tells the decisions and carries them out.
func (a *app) forget(ctx context.Context, r *session, decisions []snapshot.Decision, dryRun bool) error {
	var gone []repo.Name
	for i := range decisions {
		d := &decisions[i]
		if !d.Keep() {
			gone = append(gone, d.Snapshot.ID)
		}
		a.ui.JSON("decision", struct {
			snapshotLine
			Keep    bool     `json:"keep"`
			Reasons []string `json:"reasons"`
		}{newSnapshotLine(&d.Snapshot), d.Keep(), slices.Concat([]string{}, d.Reasons)})
	}
	a.ui.Report("%s", strings.TrimSuffix(listDecisions(decisions), "\n"))
	if dryRun || len(gone) == 0 {
		return nil
	}
	if err := r.Forget(ctx, gone); err != nil {
		return fmt.Errorf("forgetting: %w", err)
	}
	a.ui.Say("log head %v", r.Head())
	return nil
}

// listDecisions lays decisions out as a table, what goes first.
func listDecisions(decisions []snapshot.Decision) string {
	if len(decisions) == 0 {
		return "no snapshots\n"
	}
	t := newTable("", "ID", "Instance", "Date", "Time", "Reasons")
	add := func(verb string, d *snapshot.Decision) {
		r := &d.Snapshot
		t.add(verb, r.ID.Short(), printable(r.Instance), printable(r.Date), formatTime(r.Time), printableReasons(d.Reasons))
	}
	kept := int64(0)
	for i := range decisions {
		if !decisions[i].Keep() {
			add("remove", &decisions[i])
		}
	}
	for i := range decisions {
		if decisions[i].Keep() {
			add("keep", &decisions[i])
			kept++
		}
	}
	return t.String() + fmt.Sprintf("%s to keep, %d to remove\n", plural(kept, "snapshot", "snapshots"), int64(len(decisions))-kept)
}

func printableReasons(reasons []string) string {
	shown := make([]string, len(reasons))
	for i, r := range reasons {
		shown[i] = printable(r)
	}
	return strings.Join(shown, "; ")
}

// policyFlags are the flags that say what to keep.
type policyFlags struct {
	last, hourly, daily, weekly, monthly, yearly keepCount

	within    snapshot.Span
	tags      []string
	removeAll bool
}

func (p *policyFlags) flags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.Var(&p.last, "keep-last", "keep the newest `N` snapshots")
	f.Var(&p.hourly, "keep-hourly", "of each of the newest `N` hours that have any, keep the newest snapshot")
	f.Var(&p.daily, "keep-daily", "likewise, of `N` days")
	f.Var(&p.weekly, "keep-weekly", "likewise, of `N` weeks")
	f.Var(&p.monthly, "keep-monthly", "likewise, of `N` months")
	f.Var(&p.yearly, "keep-yearly", "likewise, of `N` years")
	f.Var(&spanFlag{&p.within}, "keep-within", "keep what is at most this `span` older than the newest: 30d, 1y6m")
	f.StringArrayVar(&p.tags, "keep-tag", nil, "keep what bears the `tag`, or all of several joined by commas; repeatable")
	f.BoolVar(&p.removeAll, "allow-remove-all", false, "let the policy remove every snapshot of an instance")
}

func (p *policyFlags) policy() snapshot.Policy {
	policy := snapshot.Policy{
		Last: int(p.last), Hourly: int(p.hourly), Daily: int(p.daily), Weekly: int(p.weekly), Monthly: int(p.monthly), Yearly: int(p.yearly),
		Within: p.within, AllowRemoveAll: p.removeAll,
	}
	for _, t := range p.tags {
		policy.Tags = append(policy.Tags, strings.Split(t, ","))
	}
	return policy
}

// A keepCount is a number of snapshots to keep, or all of them.
type keepCount int

func (n *keepCount) String() string { return strconv.Itoa(int(*n)) }

// Set reads a number of 0 or more, or "all", which is -1.
func (n *keepCount) Set(text string) error {
	if text == "all" {
		*n = snapshot.Unlimited
		return nil
	}
	v, err := strconv.Atoi(text)
	if err != nil || v < snapshot.Unlimited {
		return errors.New("give a number, or -1 or all for every one")
	}
	*n = keepCount(v)
	return nil
}

// Type names the flag's value in help texts.
func (n *keepCount) Type() string { return "N" }

// A spanFlag is a Span as a flag takes it.
type spanFlag struct{ span *snapshot.Span }

func (s *spanFlag) String() string {
	if s.span == nil || s.span.IsZero() {
		return ""
	}
	return s.span.String()
}

// Set reads what snapshot.ParseSpan reads.
func (s *spanFlag) Set(text string) error { return s.span.UnmarshalText([]byte(text)) }

// Type names the flag's value in help texts.
func (s *spanFlag) Type() string { return "span" }
