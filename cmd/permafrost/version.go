package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/usage"
	"permafrost/internal/escape"
	"permafrost/internal/keeper"
)

// version is set by the linker in releases; elsewhere the module's version and revision tell.
var version = ""

func readBuildInfo() keeper.Version {
	b := keeper.Version{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			b.Revision += "+changes"
		}
	}
	return b
}

func versionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "tell this program's version",
		Example: "  permafrost version",
		Args:    args("no arguments", 0, 0),
		// A broken configuration keeps nobody from learning the version.
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			err := readyOutput(a.ui, cmd)
			a.started = err == nil
			return err
		},
		Run: func(*cobra.Command, []string) {
			b := readBuildInfo()
			a.ui.JSON(b)
			a.ui.Print("permafrost %s %s %s %s/%s", b.Version, b.Revision, b.Go, b.OS, b.Arch)
		},
	}
}

func completionCommand(a *app) *cobra.Command {
	shells := []string{"bash", "fish", "zsh"}
	return &cobra.Command{
		Use:   "completion bash|fish|zsh",
		Short: "write a shell's completion script",
		Example: `  permafrost completion bash > /etc/bash_completion.d/permafrost
  permafrost completion fish > ~/.config/fish/completions/permafrost.fish
  permafrost completion zsh > "${fpath[1]}/_permafrost"`,
		Args:              args("the name of a shell: bash, fish or zsh", 1, 1),
		ValidArgs:         shells,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return readyOutput(a.ui, cmd) },
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			var write func() error
			switch args[0] {
			case "bash":
				write = func() error { return root.GenBashCompletionV2(a.ui.Raw(), true) }
			case "fish":
				write = func() error { return root.GenFishCompletion(a.ui.Raw(), true) }
			case "zsh":
				write = func() error { return root.GenZshCompletion(a.ui.Raw()) }
			default:
				return usage.Errorf("no completion for the shell %s: there is bash, fish and zsh", escape.Name(args[0]))
			}
			a.started = true
			return write()
		},
	}
}
