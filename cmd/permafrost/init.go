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

	"permafrost/internal/hint"
	"permafrost/internal/hostfs"
	"permafrost/internal/keeper"
	"permafrost/internal/sftpstore"
	"permafrost/repo"
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

func (a *app) initCommand() *cobra.Command {
	var flags initFlags
	cmd := &cobra.Command{
		Use:   "init",
		Short: "make a repository, and the keys to it",
		Long: `Init makes a repository and writes two key files that only their owner can read.

The recovery file opens everything, by itself, whatever happens to the storage's copy
of the keys. Without it nothing can be restored. Move it off this host, to a safe
place or two.

The writer file stays on this host. It adds snapshots, and can't read stored content
back: whoever breaks into the host finds no older backups in the repository. With
--append-only it can't remove snapshots either.`,
		Example: `  permafrost init -r sftp:mastodon-backup@storage.example:/mastodon
  permafrost init -r sftp:mastodon-backup@storage.example:/mastodon --owner "$(cat admin.age.pub)" --append-only`,
		Args: args("no arguments", 0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.init(cmd.Context(), &flags) },
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

// init makes a repository.
func (a *app) init(ctx context.Context, flags *initFlags) error {
	further, err := parseOwners(flags.owners)
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
	// Init itself refuses a place that is taken; asked first, no key files are written for nothing.
	if there, err := repo.Exists(ctx, st); err != nil {
		return err
	} else if there {
		return repo.ErrRepositoryExists
	}
	owner, err := repo.NewOwnerKeyring()
	if err != nil {
		return err
	}
	writer, err := owner.NewWriter(flags.name)
	if err != nil {
		return err
	}
	if err := a.writeKeys(flags.recovery, owner, writer); err != nil {
		return err
	}
	if err := repo.Init(ctx, st, owner, writer, repo.InitOptions{Instance: flags.instance, AppendOnly: flags.appendOnly}); err != nil {
		return a.initFailed(ctx, st, flags.recovery, err)
	}
	if len(further) > 0 {
		r, err := repo.Open(ctx, st, owner, repo.Options{})
		if err != nil {
			return err
		}
		for i, o := range further {
			a.warnWeak(o)
			k, err := owner.ForOwner(fmt.Sprintf("owner%d", i+1))
			if err != nil {
				return err
			}
			if err := r.AddPerson(ctx, k, repo.Person{Name: k.Name}, o.recipient, o.text); err != nil {
				return fmt.Errorf("adding %s: %w", k.Name, err)
			}
		}
	}
	a.ui.Done("the repository is made, and its keys are in %s and %s", printable(flags.recovery), printable(a.writerKey))
	a.tellInit(flags, owner)
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

func (n *notes) tell(u *ui) {
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

// writeKeys writes both key files, or none.
func (a *app) writeKeys(recovery string, owner, writer *repo.Keyring) error {
	dir, err := hostfs.MakeDir(filepath.Dir(a.writerKey))
	if err != nil {
		return fmt.Errorf("making a directory for the writer file: %w", err)
	}
	dir.Close()
	if err := repo.WriteKeyFile(recovery, owner); err != nil {
		return err
	}
	if err := repo.WriteKeyFile(a.writerKey, writer); err != nil {
		os.Remove(recovery)
		return err
	}
	return nil
}

// initFailed removes the key files where it is sure that no repository was made with them.
func (a *app) initFailed(ctx context.Context, st repo.Store, recovery string, err error) error {
	if there, ask := repo.Exists(ctx, st); ask == nil && !there {
		os.Remove(recovery)
		os.Remove(a.writerKey)
		var unfit *sftpstore.UnfitError
		if errors.As(err, &unfit) { // whatever was tried
			return hint.Wrap(unfit, hintFor(err))
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return withHint(err, "a repository can't be made there: choose a directory that this user may make and write to")
		}
		return err
	}
	return withHint(err, "the repository may have been made in part; its keys are in "+recovery+" and "+a.writerKey)
}

func (a *app) tellInit(flags *initFlags, owner *repo.Keyring) {
	where := a.repository
	if p, err := parsePlace(a.repository); err == nil {
		where = p.inFull()
	}
	a.ui.JSON(keeper.NewRepository{
		Repository: repo.Name(owner.Repository).String(), Fingerprint: owner.Fingerprint(), Recovery: flags.recovery, Writer: a.writerKey,
		Instance: flags.instance, AppendOnly: flags.appendOnly, Location: where,
	})
	a.ui.Report("made repository %s…", repo.Name(owner.Repository).Short())
	a.ui.Report("place          %s", printable(where))
	a.ui.Report("fingerprint    %s", owner.Fingerprint())
	a.ui.Report("recovery file  %s", printable(flags.recovery))
	a.ui.Report("writer file    %s", printable(a.writerKey))
	a.ui.Warn("move %s off this host, to a safe place or two: without it nothing can be restored", printable(flags.recovery))
}
