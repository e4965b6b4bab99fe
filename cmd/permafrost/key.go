package main

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/console"
	"permafrost/cmd/permafrost/internal/report"
	"permafrost/cmd/permafrost/internal/usage"
	"permafrost/internal/escape"
	"permafrost/internal/hint"
	"permafrost/internal/keeper"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
)

func keyCommand(a *app) *cobra.Command {
	return family(&cobra.Command{
		Use:   "key",
		Short: "list, add, remove and rotate keys",
		Long: `Key manages the repository's list of keys. The list names owners, who may do everything,
and writers, which add snapshots of one instance. All commands but list need the owner
key.`,
		Example: `  permafrost key list
  permafrost key add writer --name web2 --key-file web2.key -i permafrost-recovery.key`,
	}, keyListCommand(a), keyAddCommand(a), keyRemoveCommand(a), keyRotateCommand(a))
}

func keyListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "list who holds keys",
		Example: "  permafrost key list",
		Args:    args("no arguments", 0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.open(cmd.Context(), keeper.AnyKey)
			if err != nil {
				return err
			}
			defer r.Close()
			t := console.NewTable("Name", "Role", "Instance", "May", "Key", "")
			for _, p := range r.Roster() {
				k := keeper.NewKey(&p)
				a.ui.JSON(k)
				t.Add(escape.Name(p.Name), k.Role, instanceName(&p), rights(&p), k.Kind, k.Weakness)
			}
			a.ui.Lines(t.Lines())
			a.ui.Print("fingerprint %s", r.Key().Fingerprint())
			return nil
		},
	}
}

func instanceName(p *ledger.Person) string {
	switch {
	case p.Role == keys.RoleOwner:
		return ""
	case p.Instance == "":
		return "(any)"
	}
	return escape.Name(p.Instance)
}

func rights(p *ledger.Person) string {
	switch {
	case p.Role == keys.RoleOwner:
		return "everything"
	case p.MayForget:
		return "add, forget"
	}
	return "add"
}

func parseOwners(texts []string, prompt keys.Prompt) (owners []keeper.Recipient, err error) {
	for _, text := range texts {
		o, err := parseOwnerKey(text, prompt)
		if err != nil {
			return nil, err
		}
		owners = append(owners, o)
	}
	return owners, nil
}

// parseOwnerKey reads a recipient, or asks for a new passphrase.
func parseOwnerKey(text string, prompt keys.Prompt) (keeper.Recipient, error) {
	if text != keeper.PassphraseWord {
		r, _, weak, err := keys.ParseRecipient(text, prompt)
		if err != nil {
			return keeper.Recipient{}, usage.Wrap(err)
		}
		return keeper.Recipient{To: r, Text: strings.TrimSpace(text), Weak: weak}, nil
	}
	first, err := console.ReadPassphrase("New passphrase")
	if err != nil {
		return keeper.Recipient{}, err
	}
	second, err := console.ReadPassphrase("The same again")
	switch {
	case err != nil:
		return keeper.Recipient{}, err
	case len(first) == 0 || !bytes.Equal(first, second):
		return keeper.Recipient{}, errors.New("the passphrases are empty or differ")
	}
	r, err := keys.NewPassphraseRecipient(first)
	return keeper.Recipient{To: r, Weak: keys.WeakPassphrase}, err
}

// keyAddFlags describe a new holder of a key.
type keyAddFlags struct {
	name     string
	instance string
	noForget bool
	file     string
}

func keyAddCommand(a *app) *cobra.Command {
	var flags keyAddFlags
	cmd := &cobra.Command{
		Use:   "add owner|writer [RECIPIENT] --name NAME",
		Short: "give somebody, or a host, a key",
		Long: `Add gives a key to a person or a host. RECIPIENT is their own public key, of age or SSH,
or the word passphrase. They open the repository with the private key that belongs to it
(-i FILE). The first time they also need --fingerprint. For a writer without RECIPIENT,
add writes a key file.`,
		Example: `  permafrost key add owner "$(cat admin.age.pub)" --name admin -i permafrost-recovery.key
  permafrost key add writer --name web2 --key-file web2.key -i permafrost-recovery.key`,
		Args: args("owner or writer, and a recipient", 1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			role := keys.Role(args[0])
			switch {
			case role != keys.RoleOwner && role != keys.RoleWriter:
				return usage.Errorf("%s is neither owner nor writer", escape.Name(args[0]))
			case flags.name == "":
				return usage.Errorf("a key needs a name: --name NAME")
			case (len(args) == 2) == (flags.file != ""):
				return usage.Errorf("give either a recipient, or --key-file for a key file to write")
			case role == keys.RoleOwner && flags.file != "":
				return hint.Wrap(usage.Errorf("an owner's key is not written into a file"), "give the owner's recipient, or a copy of the recovery file")
			}
			return addKey(cmd.Context(), a, role, args[1:], &flags)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&flags.name, "name", "", "`name` in the list of keys")
	f.StringVar(&flags.instance, "instance", "", "`domain` of the instance that a writer backs up (default: any)")
	f.BoolVar(&flags.noForget, "no-forget", false, "the writer may not remove snapshots")
	f.StringVar(&flags.file, "key-file", "", "write the writer's key to this `file`")
	return cmd
}

func addKey(ctx context.Context, a *app, role keys.Role, recipient []string, flags *keyAddFlags) error {
	r, err := a.open(ctx, keeper.ContentKey)
	if err != nil {
		return err
	}
	defer r.Close()
	o := keeper.AddKeyOptions{Role: role, Name: flags.name, Instance: flags.instance, MayForget: !flags.noForget, File: flags.file}
	if len(recipient) > 0 {
		to, err := parseOwnerKey(recipient[0], a.ui.Prompt())
		if err != nil {
			return err
		}
		o.To = &to
	}
	if err := keeper.AddKey(ctx, r.Repo, o, report.New(a.ui)); err != nil {
		return err
	}
	a.ui.Say("added %s %s; the fingerprint to give with it is %s", role, escape.Name(flags.name), r.Key().Fingerprint())
	return nil
}

func keyRemoveCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "take somebody's key away",
		Long: `Remove takes a name off the list of keys, and its keys off the storage. Whatever that
writer signs later has no effect. It does not take back keys that somebody has copied.
If they are in wrong hands, rotate the keys too.`,
		Example: "  permafrost key remove web2 -i permafrost-recovery.key",
		Args:    args("a name", 1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.open(cmd.Context(), keeper.ContentKey)
			if err != nil {
				return err
			}
			defer r.Close()
			if err := keeper.RemoveKey(cmd.Context(), r.Repo, args[0]); err != nil {
				return err
			}
			a.ui.Say("removed %s", escape.Name(args[0]))
			a.ui.Warn("somebody may have copied this key: only `permafrost key rotate` protects new content from them")
			return nil
		},
	}
}

func keyRotateCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate",
		Short: "put new keys into use",
		Long: `Rotate makes new keys. Everything is stored under them from now on. Every keyring also
keeps the old keys, so older content stays readable.

Everybody in the list of keys who has a key of their own gets the new keys through the
storage. The key file given with -i is replaced by one that holds old and new keys. Its
other copies find the new keys on the storage. Replace these copies too, as the storage
may be lost. The next snapshot of each instance stores everything anew.

To shut out a stolen writer key, remove it first. A stolen recovery file can't be shut
out: make a new repository.`,
		Example: "  permafrost key rotate -i permafrost-recovery.key",
		Args:    args("no arguments", 0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.open(cmd.Context(), keeper.ContentKey)
			if err != nil {
				return err
			}
			defer r.Close()
			o, err := a.openOptions()
			if err != nil {
				return err
			}
			file, err := o.KeyringFile()
			if err != nil {
				return err
			}
			res, err := keeper.RotateKeys(cmd.Context(), r.Repo, file)
			if err != nil {
				return err
			}
			a.ui.Say("new keys are in use: epoch %d", res.Epoch)
			a.ui.Warn("the next snapshot of each instance stores everything anew: it takes the time and the space of a first one")
			if file != "" {
				a.ui.Warn("%s holds the new keys: replace its other copies", escape.Name(file))
			}
			for _, name := range res.Keyless {
				a.ui.Warn("%s did not get the new keys, having none of its own: permafrost key remove %[1]s, then permafrost key add", escape.Name(name))
			}
			return nil
		},
	}
}
