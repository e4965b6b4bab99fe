package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/console"
	"permafrost/cmd/permafrost/internal/place"
	"permafrost/cmd/permafrost/internal/report"
	"permafrost/internal/escape"
	"permafrost/internal/hint"
	"permafrost/internal/keeper"
	"permafrost/internal/sftpstore"
	"permafrost/source"
)

// initFlags say how a repository is made.
type initFlags struct {
	owners     []string
	recovery   string
	appendOnly bool
	instance   string
	live       string
	osUser     string
	name       string
}

func initCommand(a *app) *cobra.Command {
	var flags initFlags
	cmd := &cobra.Command{
		Use:   "init",
		Short: "make a repository, and the keys to it",
		Long: `Init makes a repository and writes two key files that only their owner can read.

The recovery file opens everything by itself, even if the storage loses its copy of
the keys. Without it nothing can be restored. Move it off this host, to one or two safe
places.

The writer file stays on this host. It adds snapshots and can't read stored content
back, so an intruder on the host can't read older backups. With --append-only it can't
remove snapshots either.`,
		Example: `  permafrost init -r sftp:mastodon-backup@storage.example:/mastodon
  permafrost init -r sftp:mastodon-backup@storage.example:/mastodon --owner "$(cat admin.age.pub)" --append-only`,
		Args: args("no arguments", 0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return makeRepository(cmd.Context(), a, &flags) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringArrayVar(&flags.owners, "owner", nil, "age or SSH `recipient` of a further owner; repeatable")
	f.StringVar(&flags.recovery, "recovery-key", "permafrost-recovery.key", "write the owner's key to this `file`")
	f.BoolVar(&flags.appendOnly, "append-only", false, "the writer may not remove snapshots")
	f.StringVar(&flags.instance, "instance", "", "`domain` of the instance that the writer backs up (default: that of --live, else any)")
	f.StringVar(&flags.live, "live", defaultLive, "Mastodon's `directory`")
	f.StringVar(&flags.osUser, "user", "", userUsage)
	f.StringVar(&flags.name, "name", "", "the writer's `name` (default: the host's)")
	return cmd
}

// makeRepository makes a repository.
func makeRepository(ctx context.Context, a *app, flags *initFlags) error {
	further, err := parseOwners(flags.owners, a.ui.Prompt())
	if err != nil {
		return err
	}
	warnings, err := flags.complete()
	if err != nil {
		return err
	}
	// In full, so that what is told names them wherever it is read.
	for _, file := range []*string{&flags.recovery, &a.writerKey} {
		if *file, err = filepath.Abs(*file); err != nil {
			return err
		}
	}
	for _, w := range warnings {
		a.ui.Warn("%s", w)
	}
	var lasting notes
	st, closeStore, err := a.openNewStore(ctx, lasting.add)
	if err != nil {
		return err
	}
	defer closeStore()
	o := keeper.InitOptions{
		Recovery: flags.recovery, Writer: a.writerKey, Name: flags.name, Instance: flags.instance, AppendOnly: flags.appendOnly,
		Owners: further, Location: location(a.repository),
	}
	made, err := keeper.Init(ctx, st, o, report.New(a.ui))
	var failed *keeper.InitError
	var unfit *sftpstore.UnfitError
	switch {
	case errors.As(err, &failed) && !failed.Made && errors.As(err, &unfit): // whatever was tried
		return unfit
	case err != nil:
		return err
	}
	a.ui.Done("the repository is made, and its keys are in %s and %s", escape.Name(made.Recovery), escape.Name(made.Writer))
	tellInit(a.ui, made)
	lasting.tell(a.ui)
	return nil
}

// notes are texts that are told later, from whatever goroutine they come.
type notes struct {
	mu    sync.Mutex
	texts []string
}

func (n *notes) add(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.texts = append(n.texts, text)
}

func (n *notes) tell(u *console.Console) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, text := range n.texts {
		u.Warn("%s", text)
	}
}

// complete fills in what can be found out on this host, and returns what an administrator should know of the instance.
func (f *initFlags) complete() (warnings []string, err error) {
	if f.name == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, hint.Wrap(fmt.Errorf("asking for the host's name: %w", err), "say --name NAME")
		}
		f.name = host
	}
	if f.instance != "" {
		return nil, nil
	}
	domain, warnings, err := source.LoadDomain(f.live, f.osUser)
	switch {
	case errors.Is(err, fs.ErrNotExist) && f.live == defaultLive:
		return nil, nil // made from another machine
	case err != nil:
		return nil, err
	}
	f.instance = domain
	return warnings, nil
}

// location returns where the repository is, for whoever looks for it from elsewhere.
func location(address string) string {
	if p, err := place.Parse(address); err == nil {
		return p.InFull()
	}
	return address
}

func tellInit(ui *console.Console, made *keeper.NewRepository) {
	ui.JSON(made)
	ui.Report("made repository %s…", report.ShortID(made.Repository))
	ui.Report("place          %s", escape.Name(made.Location))
	ui.Report("fingerprint    %s", made.Fingerprint)
	ui.Report("recovery file  %s", escape.Name(made.Recovery))
	ui.Report("writer file    %s", escape.Name(made.Writer))
	ui.Warn("move %s off this host, to one or two safe places: without it nothing can be restored", escape.Name(made.Recovery))
}
