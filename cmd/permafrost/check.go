package main

import (
	"time"

	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/console"
	"permafrost/cmd/permafrost/internal/report"
	"permafrost/cmd/permafrost/internal/usage"
	"permafrost/cmd/permafrost/internal/value"
	"permafrost/internal/escape"
	"permafrost/internal/hint"
	"permafrost/internal/keeper"
	"permafrost/internal/units"
	"permafrost/repo"
	"permafrost/repo/upkeep"
	"permafrost/snapshot/retain"
)

func checkCommand(a *app) *cobra.Command {
	var (
		readData bool
		subset   value.Subset
		head     value.Head
		maxAge   retain.Span
		maxTime  time.Duration
	)
	cmd := &cobra.Command{
		Use:   "check",
		Short: "verify the repository",
		Long: `Check verifies the log and the index. Every pack must be there with the right size,
and the packs must hold everything that snapshots need. It does not read content.

With --read-data it also reads every pack and compares it with the hash in its name.
With the owner key it decrypts every pack too, and verifies every blob. Damaged packs
are noted in the log. The next snapshot stores their content again if the host still has
it. Use permafrost repair to save the rest.

--read-data-subset reads a part of the packs: 5% or 500M, chosen at random, or 2/7,
the second of seven parts. Seven nights from 1/7 to 7/7 read everything.

--max-duration stops reading after a time. --max-age leaves out packs that this machine
has verified within that time. Packs that were read longest ago come first, so nights
of half an hour each reach every pack.

Check prints the log head. It stands for everything that was committed so far. Note it
elsewhere. Given to --head later, it finds a storage that was set back to an older state.
Other commands that change something print the head with -v, and
permafrost snapshots --head prints it at any time.`,
		Example: `  permafrost check
  permafrost check --read-data-subset 1/7
  permafrost check --read-data --max-duration 30m --max-age 30d
  permafrost check -i permafrost-recovery.key --read-data`,
		Args: args("no arguments", 0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if readData && subset.Subset != nil {
				return usage.Errorf("--read-data and --read-data-subset exclude each other")
			}
			spread := !maxAge.IsZero() || maxTime != 0
			if maxTime < 0 || spread && !readData && subset.Subset == nil {
				return usage.Errorf("--max-age and --max-duration need --read-data or --read-data-subset, and a positive time")
			}
			r, err := a.openAt(cmd.Context(), keeper.AnyKey, head.Head)
			if err != nil {
				return err
			}
			defer r.Close()
			read := subset.Subset
			if readData {
				read = &upkeep.Subset{Part: 1, Of: 1}
			}
			n := report.New(a.ui)
			defer n.Close()
			o := keeper.CheckOptions{Read: read, MaxAge: ago(maxAge, time.Now()), MaxTime: maxTime}
			res, err := keeper.Check(cmd.Context(), r.Repo, o, n)
			n.Close()
			if err != nil {
				return err
			}
			return tellCheck(a.ui, r.Repo, res)
		},
	}
	cmd.Flags().BoolVar(&readData, "read-data", false, "read every pack")
	cmd.Flags().Var(&subset, "read-data-subset", "read a `part` of the packs: 5%, 500M or 1/7")
	cmd.Flags().Var(&value.Span{Span: &maxAge}, "max-age", "read only what was not verified within the `span`: 30d")
	cmd.Flags().DurationVar(&maxTime, "max-duration", 0, "begin no further pack after this `time`: 30m, 2h")
	cmd.Flags().Var(&head, "head", "a log `head` that check printed earlier: fail if the log does not contain it")
	return cmd
}

// ago returns how long ago a span before now began.
func ago(s retain.Span, now time.Time) time.Duration {
	if s.IsZero() {
		return 0
	}
	return now.Sub(s.Before(now))
}

// tellCheck tells what a check has found, and returns an error where that is damage.
func tellCheck(ui *console.Console, r *repo.Repo, res *keeper.Health) error {
	ui.JSON(res.Checked)
	ui.Report("%s, %s in %s", units.Plural(int64(res.Snapshots), "snapshot", "snapshots"), units.Plural(res.Blobs, "blob", "blobs"), units.Plural(int64(res.Packs), "pack", "packs"))
	if res.PacksRead > 0 {
		how := "compared with their hashes"
		if res.Decrypted {
			how = "decrypted, and each blob verified"
		}
		ui.Report("%s read, %v: %s", units.Plural(int64(res.PacksRead), "pack", "packs"), units.Bytes(res.BytesRead), how)
	}
	if res.Due > 0 {
		ui.Report("%s not read yet: left for the next check", units.Plural(int64(res.Due), "pack", "packs"))
	}
	if res.Unused > 0 {
		ui.Report("%s that no index lists: prune removes old ones", units.Plural(int64(res.Unused), "pack", "packs"))
	}
	if res.Unnamed > 0 {
		ui.Report("%s that no log entry refers to: harmless", units.Plural(int64(res.Unnamed), "object", "objects"))
	}
	if res.Junk > 0 {
		ui.Report("%s with names that no object can have: harmless; a prune with the owner key removes them", units.Plural(int64(res.Junk), "object", "objects"))
	}
	for _, object := range res.Strays {
		ui.JSON(keeper.Stray{Object: object})
		ui.Detail("not in use: %s", escape.Name(object))
	}
	for _, err := range res.Accepted {
		ui.Warn("%v", err)
	}
	tellRequests(ui, r)
	ui.Say("log head %v (note it elsewhere: `permafrost check --head` finds a storage that was set back to an older state)", r.Head())
	if res.Problems == 0 {
		ui.Report("no damage found")
		return nil
	}
	err := error(&damageError{res.Problems})
	switch {
	case res.Lost > 0:
		err = hint.Wrap(err, "rebuild the index from the packs: `permafrost repair index -i RECOVERY-FILE`")
	case res.Damaged > 0:
		err = hint.Wrap(err, "save what is whole: `permafrost repair packs -i RECOVERY-FILE`. The next snapshot stores the rest again if the host still has it")
	}
	return err
}

// tellHead tells the log's head after a change to those who asked for more.
func tellHead(ui *console.Console, r *opened) { ui.Detail("log head %v", r.Head()) }

// tellRequests tells of log entries whose signers were not entitled to them: what a host asks for and does not get.
func tellRequests(ui *console.Console, r *repo.Repo) {
	for _, q := range keeper.Requests(r) {
		ui.JSON(q)
		ui.Warn("log entry %d by %s has no effect: %s", q.Entry, escape.Name(q.Signer), escape.Name(q.Why))
	}
}

// A damageError says that a check found damage.
type damageError struct{ problems int }

func (e *damageError) Error() string {
	return "the repository is damaged: " + units.Plural(int64(e.problems), "problem", "problems") + " found"
}
