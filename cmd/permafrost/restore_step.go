package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/console"
	"permafrost/cmd/permafrost/internal/usage"
	"permafrost/cmd/permafrost/internal/value"
	"permafrost/internal/hint"
	"permafrost/snapshot/restore"
	"permafrost/source"
	"permafrost/source/postgres/wayback"
)

// restoreStepCommand returns what the steps of RESTORE.md call for that a shell can't do. Nobody types these commands.
func restoreStepCommand(a *app) *cobra.Command {
	cmd := family(&cobra.Command{
		Use:     "restore-step",
		Short:   "do a part of a step of RESTORE.md",
		Example: "  permafrost restore-step password --settings /home/mastodon/live/.env.production",
		Hidden:  true,
		// A configuration is no help on a host that has just been set up.
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			err := value.Check(cmd.Flags())
			a.started = err == nil
			return err
		},
	}, stepSums(), stepPassword(a.ui), stepPassfile(a.ui),
		stepRDB(a.stdin, a.ui), stepRedisLogin(a.ui), stepRedisMaster(a.stdin, a.ui))
	return cmd
}

// stepSums returns the command that checks restored files.
func stepSums() *cobra.Command {
	return &cobra.Command{
		Use:     "sums DIRECTORY",
		Short:   "check restored files against SHA256SUMS",
		Long:    `Sums reads each file that SHA256SUMS of a restored directory lists, as sha256sum does.`,
		Example: "  permafrost restore-step sums /root/restore",
		Args:    args("one directory", 1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			return hint.Wrap(restore.VerifySums(args[0]), "restore these files once more")
		},
	}
}

// stepPassword returns the command that gives a role its password again.
func stepPassword(ui *console.Console) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "password --settings FILE",
		Short: "write SQL that gives a role the password in the settings",
		Long: `Password writes an SQL statement for psql, whose variable "role" names the role. The
statement holds what the server stores of the password (a SCRAM-SHA-256 verifier). It
does not hold the password itself, so no log does.`,
		Example: `  permafrost restore-step password --settings /home/mastodon/live/.env.production |
    psql -v role=mastodon -f -`,
		Args: args("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			password, err := databasePassword(file)
			if err != nil {
				return err
			}
			verifier, err := wayback.Verifier(password)
			if err != nil {
				return hint.Wrap(err, `set it with psql: \password ROLE`)
			}
			_, err = fmt.Fprintf(ui.Raw(), "alter role :\"role\" password '%s';\n", verifier)
			return err
		},
	}
	cmd.Flags().StringVar(&file, "settings", "", "settings `file` of Mastodon, such as .env.production")
	return cmd
}

// stepPassfile returns the command that gives libpq the password.
func stepPassfile(ui *console.Console) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "passfile --settings FILE",
		Short: "write a password file of libpq with the password in the settings",
		Long: `Passfile writes a line as PGPASSFILE takes it, for any server, database and role. It
holds the database's password from the settings: write it where nobody else reads it.`,
		Example: `  umask 077
  permafrost restore-step passfile --settings /home/mastodon/live/.env.production > passfile`,
		Args: args("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			if ui.Terminal() {
				return hint.Wrap(usage.Errorf("passfile shows no password on a terminal"), "redirect standard output: > FILE")
			}
			password, err := databasePassword(file)
			if err != nil {
				return err
			}
			if strings.ContainsAny(password, "\n\r\x00") {
				return errors.New("the database's password has a line's end, which no password file can hold")
			}
			_, err = fmt.Fprintf(ui.Raw(), "*:*:*:*:%s\n", strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(password))
			return err
		},
	}
	cmd.Flags().StringVar(&file, "settings", "", "settings `file` of Mastodon, such as .env.production")
	return cmd
}

// databasePassword returns the password that a settings file has for the database.
func databasePassword(file string) (string, error) {
	if file == "" {
		return "", hint.Wrap(usage.Errorf("no settings file is named"), "say --settings FILE")
	}
	db, err := source.LoadDatabase(file)
	if err == nil && db.Password == "" {
		err = hint.Wrap(errors.New("the settings have no password of the database"), "check that this is the right file: DB_PASS or DATABASE_URL has it")
	}
	return db.Password, err
}
