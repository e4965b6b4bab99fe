package main

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"permafrost/internal/keeper"
	"permafrost/repo"
	"permafrost/snapshot"
	"permafrost/snapshot/retain"
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
			r, err := a.open(cmd.Context(), anyKey)
			if err != nil {
				return err
			}
			defer r.Close()
			path := strings.Trim(append(args, "")[1], "/")
			_, m, err := a.manifest(cmd.Context(), r, &pick, args[0], wishFor(path))
			if err != nil {
				return err
			}
			found, err := a.list(cmd.Context(), r, m, path, long)
			if err == nil && !found {
				err = m.Lacks(r.Snapshots(), path)
			}
			if err == nil && !found {
				err = fmt.Errorf("%s is not in that snapshot", printable(path))
			}
			return err
		},
	}
	pick.flags(cmd)
	cmd.Flags().BoolVarP(&long, "long", "l", false, "with mode, owner, size and time")
	return cmd
}

// wishFor returns what is wanted of a snapshot for the sake of a part of it, by the names that ls lists.
func wishFor(part string) retain.Wish {
	first, _, _ := strings.Cut(part, "/")
	switch first {
	case "":
		return retain.Wish{}
	case "sidekiq":
		first = string(retain.Redis)
	}
	return retain.Wish{Components: []retain.Component{retain.Component(first)}}
}

// list writes the entries at path and below it. found tells whether there were any.
func (a *app) list(ctx context.Context, r *opened, m *snapshot.Manifest, path string, long bool) (found bool, err error) {
	err = entries(ctx, r.Repo, m, path, func(l keeper.Entry) {
		found = true
		a.ui.JSON(l)
		a.ui.Print("%s", entryText(&l, long))
	})
	return found, err
}

// entries passes each entry of a snapshot at path and below it to emit; "" is all of it.
func entries(ctx context.Context, r *repo.Repo, m *snapshot.Manifest, path string, emit func(keeper.Entry)) error {
	tree, err := snapshot.OpenTree(ctx, r, m)
	if err != nil {
		return err
	}
	for n, err := range tree.Walk(cmp.Or(path, ".")) {
		if err != nil {
			return err
		}
		e := n.Entry
		emit(keeper.Entry{
			Path: snapshot.Text(n.Path), Type: string(e.Type), Mode: e.Mode, UID: e.UID, GID: e.GID, Size: e.Size, MTime: n.ModTime(),
			Target: snapshot.Text(e.Target), Link: linkName(e.Link),
		})
	}
	return nil
}

func linkName(link string) snapshot.Text {
	if link == "" {
		return ""
	}
	return snapshot.Text("media/" + link)
}

// entryText returns an entry as ls shows it.
func entryText(l *keeper.Entry, long bool) string {
	name := printable(string(l.Path))
	if !long {
		return name
	}
	if l.Target != "" {
		name += " -> " + printable(string(l.Target))
	}
	if l.Link != "" {
		name += " = " + printable(string(l.Link))
	}
	return fmt.Sprintf("%s %5d %5d %12d %s %s", modeText(l.Type, l.Mode), l.UID, l.GID, l.Size, formatTime(l.MTime), name)
}

// modeText returns a mode the way ls -l shows it.
func modeText(typ string, mode uint32) string {
	m := []byte(fs.FileMode(mode & 0o777).String())
	m[0] = typ[0]
	if typ == string(source.File) {
		m[0] = '-'
	}
	for _, s := range []struct {
		bit  uint32
		at   int
		mark byte
	}{{0o4000, 3, 's'}, {0o2000, 6, 's'}, {0o1000, 9, 't'}} {
		if mode&s.bit == 0 {
			continue
		}
		if m[s.at] == '-' {
			s.mark -= 'a' - 'A'
		}
		m[s.at] = s.mark
	}
	return string(m)
}
