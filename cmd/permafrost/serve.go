package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/usage"
	"permafrost/cmd/permafrost/internal/value"
	"permafrost/internal/hint"
	"permafrost/internal/sftpserver"
)

func serveCommand(a *app) *cobra.Command {
	var c sftpserver.Config
	cmd := &cobra.Command{
		Use:   "serve-sftp --append-only --root DIR",
		Short: "serve a repository's directory over SFTP, on the backup host",
		Long: `Serve-sftp is an SFTP server on standard input and output, for one repository. It runs
on the backup host, as the forced command of a key. Whoever logs in with that key
reaches the repository below --root and nothing else.

With --append-only that key adds objects, and can't change or remove any. That holds
even if the host with the key is stolen. Prune with another key, whose forced command lacks
--append-only. DIR must exist. Clients name it by the same path:
sftp:mastodon-backup@storage.example:DIR.

Exit codes: 0 when the client has left, 1 failed, 2 wrong usage.`,
		Example: `  In ~mastodon-backup/.ssh/authorized_keys, each on a line:
  command="permafrost serve-sftp --append-only --root /srv/mastodon",restrict ssh-ed25519 AAAA… mastodon
  command="permafrost serve-sftp --root /srv/mastodon",restrict ssh-ed25519 AAAA… admin

  What runs there:
  permafrost serve-sftp --append-only --root /srv/mastodon`,
		Args: args("no arguments", 0, 0),
		// Its configuration is its command line: what else stands on that host is meant for other commands.
		PersistentPreRun: func(*cobra.Command, []string) {},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := value.Check(cmd.Flags()); err != nil {
				return err
			}
			if c.Root == "" {
				return hint.Wrap(usage.Errorf("no directory is named"), "say --root DIR")
			}
			if a.ui.Terminal() {
				return hint.Wrap(usage.Errorf("serve-sftp speaks SFTP and can't be used on a terminal"), "`permafrost serve-sftp --help` shows where it belongs")
			}
			a.started = true
			return serve(cmd.Context(), a.stdin, a.ui.Raw(), c)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Root, "root", "", "the repository's `directory`")
	f.BoolVar(&c.AppendOnly, "append-only", false, "refuse to change or remove committed objects")
	return cmd
}

// serve serves until the client leaves or a signal comes.
func serve(ctx context.Context, stdin io.Reader, out io.Writer, c sftpserver.Config) error {
	done := make(chan error, 1)
	go func() { done <- sftpserver.Serve(c, stdin, out) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done(): // a read of standard input can't be ended; the process can
		return ctx.Err()
	}
}
