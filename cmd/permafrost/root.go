package main

import (
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/config"
	"permafrost/cmd/permafrost/internal/console"
	"permafrost/cmd/permafrost/internal/place"
	"permafrost/cmd/permafrost/internal/typo"
	"permafrost/cmd/permafrost/internal/usage"
	"permafrost/cmd/permafrost/internal/value"
	"permafrost/internal/escape"
	"permafrost/internal/hint"
)

// An app is one run of the program: what the global flags say, and what it talks through.
type app struct {
	stdin io.Reader
	ui    *console.Console

	started bool        // the command line was understood
	inJSON  atomic.Bool // --json was said; for who may not wait for the command

	repository  string
	identities  []string
	writerKey   string
	fingerprint string
	configFile  string
	cacheDir    string
	stateDir    string

	storage    place.Options // how its storage is reached
	retryLock  time.Duration
	acceptHead bool
}

// newRoot returns the command tree.
func newRoot(a *app) *cobra.Command {
	cobra.EnableCommandSorting = false
	root := &cobra.Command{
		Use:   "permafrost",
		Short: "back up a Mastodon instance, encrypted and deduplicated",
		Long: `Permafrost keeps dated snapshots of a Mastodon instance in a repository on an SFTP
server. A snapshot holds secrets, PostgreSQL database, media and Redis together.`,
		Example: `  permafrost init -r sftp:mastodon-backup@storage.example:/mastodon
  permafrost snapshot
  permafrost snapshots
  permafrost restore -i permafrost-recovery.key --date 2026-06-27 --target /srv/restore`,
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.prepare(cmd) },
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetIn(a.stdin)
	out, err := a.ui.Pages()
	root.SetOut(out)
	root.SetErr(err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if text, _, found := strings.Cut(err.Error(), " flag: time: "); found {
			err = errors.New(text + " flag: write a duration like 30m or 1h30m")
		}
		return hint.Wrap(err, "`"+cmd.CommandPath()+" --help` lists the flags")
	})
	a.globalFlags(root)
	for _, g := range commands(a) {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title + ":"})
		for _, c := range g.commands {
			c.GroupID = g.title
			root.AddCommand(c)
		}
	}
	root.SetHelpCommand(helpCommand())
	root.SetHelpCommandGroupID("Other")
	for _, c := range helpTopics() {
		root.AddCommand(c)
	}
	return root
}

// A group is commands that help lists together.
type group struct {
	title    string
	commands []*cobra.Command
}

// commands returns the program's commands, in the order that help lists them.
func commands(a *app) []group {
	return []group{
		{"Back up and restore", []*cobra.Command{initCommand(a), runCommand(a), snapshotCommand(a), restoreCommand(a), dumpCommand(a)}},
		{"Look", []*cobra.Command{snapshotsCommand(a), showCommand(a), lsCommand(a), findCommand(a), diffCommand(a)}},
		{"Keep in order", []*cobra.Command{checkCommand(a), forgetCommand(a), confirmCommand(a), pruneCommand(a), repairCommand(a), keyCommand(a)}},
		{"Other", []*cobra.Command{serveCommand(a), scrubCommand(a), restoreStepCommand(a), versionCommand(a), completionCommand(a)}},
	}
}

func unknownCommand(root *cobra.Command, name string) error {
	var names []string
	for _, c := range root.Commands() {
		if c.Runnable() && !c.Hidden {
			names = append(names, c.Name())
		}
	}
	err := usage.Errorf("unknown command %s", escape.Name(name))
	if near := typo.Nearest(name, names); near != "" {
		return hint.Wrap(err, "did you mean `"+root.CommandPath()+" "+near+"`?")
	}
	return hint.Wrap(err, "`"+strings.Replace(root.CommandPath(), "permafrost", "permafrost help", 1)+"` lists the commands")
}

// family makes a command one that only its subcommands do anything for.
func family(cmd *cobra.Command, subs ...*cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			var names []string
			for _, c := range subs {
				names = append(names, c.Name())
			}
			return hint.Wrap(usage.Errorf("%s needs to know what to do: %s", cmd.CommandPath(), strings.Join(names, ", ")),
				"`"+cmd.CommandPath()+" --help` shows an example")
		}
		return unknownCommand(cmd, args[0])
	}
	cmd.AddCommand(subs...)
	return cmd
}

func (a *app) globalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.SortFlags = false
	f.StringVarP(&a.repository, "repo", "r", "", "the repository's `URL`: user@host:/path on an SFTP server, or a local path that begins with /, ./ or ../")
	f.StringArrayVarP(&a.identities, "identity", "i", nil, "key `file` to read content with: the recovery file, or an age or SSH key; repeatable")
	f.StringVar(&a.writerKey, "writer-key", defaultWriterKey(), "key `file` of this host, made by init")
	f.StringVar(&a.fingerprint, "fingerprint", "", "the repository's `fingerprint`, if no key file holds it")
	f.StringVar(&a.configFile, "config", config.DefaultFile, "configuration `file`")
	f.StringVar(&a.cacheDir, "cache-dir", defaultDir("/var/cache", "XDG_CACHE_HOME", ".cache"), "`directory` for copies that can be fetched again")
	f.StringVar(&a.stateDir, "state-dir", defaultDir("/var/lib", "XDG_STATE_HOME", ".local/state"), "`directory` for what this machine remembers of repositories")
	f.Var((*value.Rate)(&a.storage.Upload), "limit-upload", "limit uploads to this many bytes per second, such as 10M")
	f.Var((*value.Rate)(&a.storage.Download), "limit-download", "limit downloads to this many bytes per second")
	f.DurationVar(&a.retryLock, "retry-lock", 0, "wait up to this long, such as 30m, while others work on the repository")
	f.BoolVar(&a.acceptHead, "accept-head", false, "go on although the repository is older than this machine remembers, or its log is damaged (with the owner key)")
	f.BoolVar(&a.storage.AcceptHostKey, "accept-new-host-key", false, "trust and remember the server's host key, if none is known yet")
	f.StringVar(&a.storage.SSHConfig, "ssh-config", "", "ssh_config `file` in place of ~/.ssh/config and /etc/ssh/ssh_config, like ssh's -F")
	f.StringVar(&a.storage.SSHCommand, "ssh-command", "", "connect with this `command`, such as ssh")
	f.BoolVar(&a.ui.InJSON, "json", false, "write JSON, one object a line")
	f.BoolVarP(&a.ui.Quiet, "quiet", "q", false, "print only results, warnings and errors")
	f.BoolVarP(&a.ui.Verbose, "verbose", "v", false, "print more")
}

// defaultDir returns permafrost's directory below system for root, and below a home directory for anyone else.
func defaultDir(system, xdg, home string) string {
	if os.Geteuid() == 0 {
		return filepath.Join(system, "permafrost")
	}
	if dir := os.Getenv(xdg); filepath.IsAbs(dir) {
		return filepath.Join(dir, "permafrost")
	}
	dir, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, home, "permafrost")
}

// defaultWriterKey is where a host's key lies unless it is said otherwise.
func defaultWriterKey() string {
	return filepath.Join(defaultDir("/etc", "XDG_CONFIG_HOME", ".config"), "writer.key")
}

// prepare completes the flags from environment and configuration before a command runs.
func (a *app) prepare(cmd *cobra.Command) error {
	a.inJSON.Store(a.ui.InJSON)
	if err := value.Check(cmd.Flags()); err != nil {
		return err
	}
	chosen := cmd.Flags().Changed("config")
	if env := os.Getenv("PERMAFROST_CONFIG"); env != "" && !chosen {
		a.configFile, chosen = env, true
	}
	c, err := config.Load(a.configFile, chosen)
	if err != nil {
		return err
	}
	if policyGiven(cmd.Flags()) {
		maps.DeleteFunc(c, func(key string, _ []string) bool { return strings.HasPrefix(key, "keep.") })
	}
	if err := config.Fill(cmd.Name(), cmd.Flags(), os.Getenv, c); err != nil {
		return err
	}
	if err := value.Check(cmd.Flags()); err != nil {
		return err
	}
	if a.ui.Quiet && a.ui.Verbose {
		return errors.New("--quiet and --verbose exclude each other")
	}
	if err := readyOutput(a.ui, cmd); err != nil {
		return err
	}
	a.started = true
	return nil
}

// args returns a check that a command gets from least to most arguments, which what describes.
func args(what string, least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return hint.Wrap(usage.Errorf("%s needs %s", cmd.CommandPath(), what), "`"+cmd.CommandPath()+" --help` shows an example")
		case len(args) > most && most == 0:
			return hint.Wrap(usage.Errorf("%s takes no arguments, and got %s", cmd.CommandPath(), escape.Name(strings.Join(args, " "))),
				"remove it: "+cmd.CommandPath()+" takes only flags; `"+cmd.CommandPath()+" --help` lists the flags")
		case len(args) > most:
			return hint.Wrap(usage.Errorf("%s takes %s, and got %s more", cmd.CommandPath(), what, escape.Name(strings.Join(args[most:], " "))),
				"`"+cmd.CommandPath()+" --help` shows an example")
		}
		return nil
	}
}
