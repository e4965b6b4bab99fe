package main

import (
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"permafrost/internal/escape"
	"permafrost/internal/keeper"
	"permafrost/internal/units"
	"permafrost/source"
)

func (a *app) lsCommand() *cobra.Command {
	var (
		pick selection
		long bool
	)
	cmd := &cobra.Command{
		Use:   "ls SNAP [PATH]",
		Short: "list what is in a snapshot",
		Long: `Ls lists what a snapshot holds, under the names that dump takes: secrets/PATH, postgres,
redis and media/PATH. It lists sidekiq too, if Sidekiq has a Redis of its own. With PATH
it lists that and everything below it.

The host's key can read names and sizes, and no content.`,
		Example: `  permafrost ls latest
  permafrost ls 2026-06-27 media/accounts/avatars --long`,
		Args: args("a snapshot, and perhaps a path", 1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.open(cmd.Context(), keeper.AnyKey)
			if err != nil {
				return err
			}
			defer r.Close()
			n := a.news()
			n.long = long
			return keeper.List(cmd.Context(), r.Repo, pick.choice(args[0]), append(args, "")[1], n)
		},
	}
	pick.flags(cmd)
	cmd.Flags().BoolVarP(&long, "long", "l", false, "with mode, owner, size and time")
	return cmd
}

// entryText returns an entry as ls shows it.
func entryText(l *keeper.Entry, long bool) string {
	name := escape.Name(string(l.Path))
	if !long {
		return name
	}
	if l.Target != "" {
		name += " -> " + escape.Name(string(l.Target))
	}
	if l.Link != "" {
		name += " = " + escape.Name(string(l.Link))
	}
	return fmt.Sprintf("%s %5d %5d %12d %s %s", modeText(l.Type, l.Mode), l.UID, l.GID, l.Size, units.Time(l.MTime), name)
}

// modeText returns a mode the way ls -l shows it.
func modeText(typ string, mode uint32) string {
	m := []byte(fs.FileMode(mode & 0o777).String())
	m[0] = typ[0]
	if typ == string(source.File) {
		m[0] = '-'
	}
	for _, s := range []struct {
		bit   uint32
		index int
		mark  byte
	}{{0o4000, 3, 's'}, {0o2000, 6, 's'}, {0o1000, 9, 't'}} {
		if mode&s.bit == 0 {
			continue
		}
		if m[s.index] == '-' {
			s.mark -= 'a' - 'A'
		}
		m[s.index] = s.mark
	}
	return string(m)
}
