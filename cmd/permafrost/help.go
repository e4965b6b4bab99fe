package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/config"
)

// helpCommand returns the command that explains a command or a topic.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "explain a command",
		Example: "  permafrost help snapshot",
		// A broken configuration keeps nobody from reading about it.
		PersistentPreRun: func(*cobra.Command, []string) {},
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(about, append(rest, args...)[0])
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// helpTopics returns what `permafrost help` explains besides the commands.
func helpTopics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "snapshot-names", Short: "how a snapshot is named", Long: helpNames},
		{Use: "patterns", Short: "what find, --include and --exclude match", Long: helpPatterns},
		{Use: "exit-codes", Short: "what the exit codes mean", Long: helpExitCodes},
		{Use: "environment", Short: "variables that stand for flags", Long: helpEnvironment()},
		{Use: "config", Short: "the configuration file", Long: helpConfig()},
	}
}

const helpNames = `Where a command takes SNAP, it is one of

  2026-06-27   the newest snapshot of that date
  latest       the newest of all
  latest~1     the one before it, and so on
  ab12cd34     the snapshot whose ID begins so: 4 digits or more

A date and latest skip snapshots that look wrong or lack what is asked for, and name
them. They mean such a snapshot only if there is no other. Restore prefers a snapshot
of that date with all components. Forget skips none.

The date is the day on which the snapshot ran, or the one given with snapshot --date.
If a repository holds several instances, dates and latest need --instance.`

const helpPatterns = `A pattern is compared with paths. For find, paths are as ls lists them. For --include and
--exclude, paths are relative to the media directory. A directory that matches stands
for everything below it.

  *.tmp              a name without a slash matches in any directory
  /cache  a/b        a slash, at the beginning or inside, ties it to the root
  cache/**           ** stands for any number of directories and names
  tmp/               a slash at the end matches directories alone

* stands for any characters but a slash, and ? for one character. [a-z] stands for one
of these, [!a-z] or [^a-z] for one that is none of these. A \ before a character takes
away its special meaning; a ! at the beginning of a name needs that.`

const helpExitCodes = `  0    done
  1    failed
  2    wrong usage: a flag, an argument, the environment, the configuration, or a key
       file that is missing or holds no key
  3    done in part: files that could not be read or written were left out, and named
  4    a snapshot was kept, and looks wrong: it has much less than earlier ones, or
       impossible times
  5    a snapshot was kept without a component that failed, or without one of the files
       named as secrets
  6    run: the snapshot was kept, and old ones could not be removed
  9    done, but the report could not be written to standard output
  10   there is no repository
  11   locked: another process is at work on the repository
  12   wrong key: it does not fit, can't read the content, or is not allowed to do that
  13   the repository is damaged, or its storage has lost what was committed
  130  interrupted

With 3, 4, 5, 6 and 9 the snapshot is kept. With 3 it is listed as partial. With 4 no
policy removes better snapshots because of it. With 5 standard error names what it
lacks, and with 9 the snapshot itself. With 6 it is sound. If several codes apply, the
highest is returned, and every message is printed. With any other code but 0 nothing
was committed.`

func helpEnvironment() string {
	var b strings.Builder
	b.WriteString("A flag overrides its variable, and a variable overrides the configuration file.\n\n")
	fmt.Fprintf(&b, "  %-33s  %s\n", "PERMAFROST_CONFIG", "--config")
	for _, s := range config.Settings() {
		if s.Env != "" {
			fmt.Fprintf(&b, "  %-33s  --%s\n", s.Env, s.Flag)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func helpConfig() string {
	var b strings.Builder
	b.WriteString("The configuration file, " + config.DefaultFile + `, is TOML. It gives values to flags
that neither the command line nor the environment sets.

  repository = "sftp:mastodon-backup@storage.example:/mastodon"
  writer_key = "/etc/permafrost/writer.key"

  [postgres]
  port = 5432

  [keep]
  daily  = 7
  weekly = 4

Lines below a line like [keep] belong to that table. The tables [postgres], [redis],
[sidekiq] and [media] are for other addresses than Mastodon's: past a pooler, or outside
a container. The settings file is stored as it is. Passwords are in files of
their own, which password_file names. [compose] names the project of the instance, if
its directory does not tell.

Keys, with their kinds and their flags:

`)
	for _, s := range config.Settings() {
		if s.Key != "" {
			fmt.Fprintf(&b, "  %-22s  %-29s  --%s\n", s.Key, s.Kind, s.Flag)
		}
	}
	b.WriteString("\nA --keep flag on the command line replaces the whole table [keep].")
	return b.String()
}
