package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"permafrost/internal/hint"
	"permafrost/source"
	"permafrost/source/postgres"
)

// restoreStepCommand returns what the steps of RESTORE.md call for that a shell can't do. Nobody types these commands.
func (a *app) restoreStepCommand() *cobra.Command {
	cmd := family(&cobra.Command{
		Use:     "restore-step",
		Short:   "do a part of a step of RESTORE.md",
		Example: "  permafrost restore-step password --settings /home/mastodon/live/.env.production",
		Hidden:  true,
		// A configuration is no help on a host that has just been set up.
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			err := checkFlags(cmd.Flags())
			a.started = err == nil
			return err
		},
	}, a.stepPassword())
	return cmd
}

// stepPassword returns the command that gives a role its password again.
func (a *app) stepPassword() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "password --settings FILE",
		Short: "write SQL that gives a role the password in the settings",
		Long: `Password writes a statement of SQL for psql, whose variable "role" names the role. It
holds what the server stores of the password (a SCRAM-SHA-256 verifier), not the
password itself, which so is in no log.`,
		Example: `  permafrost restore-step password --settings /home/mastodon/live/.env.production |
    psql -v role=mastodon -f -`,
		Args: args("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			if file == "" {
				return hint.Wrap(usagef("no settings file is named"), "say --settings FILE")
			}
			db, err := source.LoadDatabase(file)
			if err != nil {
				return err
			}
			if db.Password == "" {
				return hint.Wrap(errors.New("the settings have no password of the database"), "is it the right file? DB_PASS or DATABASE_URL has it")
			}
			verifier, err := postgres.Verifier(db.Password)
			if err != nil {
				return hint.Wrap(err, `set it with psql: \password ROLE`)
			}
			_, err = fmt.Fprintf(a.ui.Raw(), "alter role :\"role\" password '%s';\n", verifier)
			return err
		},
	}
	cmd.Flags().StringVar(&file, "settings", "", "settings `file` of Mastodon, such as .env.production")
	return cmd
}
