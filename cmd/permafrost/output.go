package main

import (
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/console"
	"permafrost/cmd/permafrost/internal/usage"
	"permafrost/internal/hint"
)

// answering are the commands that do nothing but answer on standard output. All others do something and report it.
var answering = strings.Fields("snapshots show ls find diff dump list version completion")

// readyOutput looks at standard output before a command begins.
//
// What a command has done is not undone by a reader that has ended: where the command does something a broken pipe is an
// error like others, and kills nothing. An answer that nobody can read is no success.
func readyOutput(ui *console.Console, cmd *cobra.Command) error {
	if !slices.Contains(answering, cmd.Name()) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // unread: writing returns EPIPE then
		return nil
	}
	if ui.Closed() {
		return hint.Wrap(usage.Errorf("standard output is closed, so nobody would read the output of %s", cmd.Name()), "redirect it to /dev/null if you need no output")
	}
	return nil
}
