package main

import (
	"errors"

	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/console"
	"permafrost/cmd/permafrost/internal/report"
	"permafrost/internal/hint"
	"permafrost/internal/keeper"
	"permafrost/internal/units"
	"permafrost/repo"
)

func scrubCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "scrub",
		Short: "compare stored objects with their names, without a key",
		Long: `Scrub reads every pack, index object and manifest, and compares it with the SHA-256 in
its name. It needs no key, so the backup host can run it by itself, at the disk's speed.
It finds decay before somebody needs the data. It can't find missing or forged objects:
only check does.

Exit codes: 0 every object matches its name, 1 failed, 2 wrong usage, 10 no repository,
13 damage found.`,
		Example: `  permafrost scrub -r /srv/mastodon`,
		Args:    args("no arguments", 0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			st, closeStore, err := a.openStore(ctx)
			if err != nil {
				return err
			}
			defer closeStore()
			n := report.New(a.ui)
			defer n.Close()
			res, err := keeper.Scrub(ctx, st, n)
			n.Close()
			switch {
			case errors.Is(err, repo.ErrNoRepository):
				return noRepository(a.repository)
			case err != nil:
				return err
			}
			return tellScrub(a.ui, res)
		},
	}
}

func tellScrub(ui *console.Console, res *keeper.Scrubbed) error {
	ui.JSON(res)
	ui.Report("%s read, %v", units.Plural(int64(res.Objects), "object", "objects"), units.Bytes(res.Bytes))
	if res.Junk > 0 {
		ui.Report("%s with names that no object can have: harmless; a prune with the owner key removes them", units.Plural(int64(res.Junk), "object", "objects"))
	}
	if res.Problems == 0 {
		ui.Report("each matches its name")
		return nil
	}
	return hint.Wrap(&damageError{res.Problems}, "run `permafrost check --read-data` with a key. The next snapshot then stores that content again if the host still has it")
}
