package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
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

A date and latest pass over snapshots that look wrong or lack what is asked for, and
name them; where there is no other, they mean these. Of a date, restore takes a
snapshot with all components before one without. For forget they pass over none.
The date is the night that snapshot --date named, which is the day it ran unless
it was told otherwise. Where a repository holds several instances, dates and
latest need --instance.`

const helpPatterns = `A pattern is compared with paths. Those of --include and --exclude are relative to the
media directory, and mean what lies below a directory that matches too; those of find
are as ls lists them.

  *.tmp              a name without a slash matches in any directory
  /cache  a/b        a slash, at the beginning or inside, ties it to the root
  cache/**           ** stands for any number of directories and names
  tmp/               a slash at the end matches directories alone

* stands for anything but a slash, ? for one character, [a-z] for one of these
and [!a-z] or [^a-z] for one that is none of these. A \ takes a character for
what it is, as a ! at the beginning needs.`

const helpExitCodes = `  0    done
  1    failed
  2    wrong usage: a flag, an argument, the environment, the configuration, or a key
       file that is not there or holds no key
  3    done in part: something that could not be read or written was left out, and named
  4    a snapshot was made and kept, and it looks wrong: it has much less than earlier
       ones had, or times that can't be
  5    a snapshot was kept without a component that failed, or with secrets that lack a
       file which was named
  6    run: the snapshot was kept, and what was to be removed after it was not
  9    done, but the report of it could not be written to standard output
  10   there is no repository
  11   locked: another process is at work on the repository
  12   wrong key: it does not fit, can't read the content, or may not do what was asked
  13   the repository is damaged, or its storage has lost what was committed
  130  interrupted

A snapshot with exit code 3 is kept, and listed as partial. One with 4 is kept, and
no policy removes better ones for its sake. One with 5 is kept, and lacks what
standard error names. With 6 it is kept and sound. With 9 it is kept, and standard
error names it. If several codes apply, the highest is returned, and every message is
printed. With any other code nothing was committed.`

func helpEnvironment() string {
	var b strings.Builder
	b.WriteString("A flag overrides its variable, and a variable overrides the configuration file.\n\n")
	fmt.Fprintf(&b, "  %-33s  %s\n", "PERMAFROST_CONFIG", "--config")
	for _, s := range settings {
		if s.env != "" {
			fmt.Fprintf(&b, "  %-33s  --%s\n", s.env, s.flag)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func helpConfig() string {
	var b strings.Builder
	b.WriteString("The configuration file, " + defaultConfig + `, is TOML. It gives flags their values
where neither the command line nor the environment does.

  repository = "sftp:mastodon-backup@storage.example:/mastodon"
  writer_key = "/etc/permafrost/writer.key"

  [postgres]
  port = 5432

  [keep]
  daily  = 7
  weekly = 4

What stands below a line like [keep] belongs to that table. Tables [postgres],
[redis], [sidekiq] and [media] say where permafrost reaches the parts of the
instance, where that is not where Mastodon does: past a pooler, or from outside
of a container. The settings file is stored as it is. Passwords stand in files of
their own, which password_file names. [compose] says in which project the instance
runs, where its directory does not tell.

Keys, with their kinds and the flags they stand for:

`)
	for _, s := range settings {
		if s.key != "" {
			fmt.Fprintf(&b, "  %-22s  %-29s  --%s\n", s.key, s.kind, s.flag)
		}
	}
	b.WriteString("\nA --keep flag on the command line replaces the whole table [keep].")
	return b.String()
}
