package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/config"
	"permafrost/cmd/permafrost/internal/console"
	"permafrost/cmd/permafrost/internal/place"
)

// The test binary is the program itself where this variable is set, so that tests run what users run.
const runMain = "PERMAFROST_TEST_RUN_MAIN"

// What a test runs believes that it is so much later than it is, where this variable is set (on amd64).
const clockVar = "PERMAFROST_TEST_CLOCK"

// This variable is the patience with a storage of what a test runs.
const patienceVar = "PERMAFROST_TEST_PATIENCE"

// The race detector lets a process that ends sleep for a second, unless it is told not to.
const endAtOnce = "GORACE=atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		patience, _ := time.ParseDuration(os.Getenv(patienceVar))
		os.Exit(program(place.Options{Patience: patience}))
	}
	if os.Getenv(intrudeVar) != "" {
		intrude(os.Args[1], os.Args[2])
		return
	}
	os.Exit(m.Run())
}

// A command is the program about to run, on a machine with nothing on it.
type command struct {
	*exec.Cmd
	home string
}

func newCommand(t *testing.T, args ...string) *command {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	c := &command{exec.Command(self, args...), home}
	c.Dir = home
	c.Env = []string{
		runMain + "=1", endAtOnce, "HOME=" + home, "PATH=" + os.Getenv("PATH"), "TZ=UTC", "PERMAFROST_CONFIG=/dev/null",
		"PERMAFROST_STATE_DIR=" + filepath.Join(home, "state"), "PERMAFROST_CACHE_DIR=" + filepath.Join(home, "cache"),
		"PERMAFROST_WRITER_KEY=" + filepath.Join(home, "writer.key"),
	}
	return c
}

// A result is what a command left.
type result struct {
	code           int
	stdout, stderr string
}

func (c *command) run(t *testing.T) result {
	t.Helper()
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	r := result{c.ProcessState.ExitCode(), out.String(), errs.String()}
	checkTerminal(t, c.Args[1:], r)
	checkMessages(t, c.Args[1:], r)
	return r
}

// Wrong usage is one error line, with a hint or without, code 2, and no data.
func TestUsageErrors(t *testing.T) {
	for _, tt := range []struct {
		args string
		env  string
		want string
		hint string
	}{
		{args: "snapshto", want: "unknown command snapshto", hint: "did you mean `permafrost snapshot`?"},
		{args: "repair indx", want: "unknown command indx", hint: "did you mean `permafrost repair index`?"},
		{args: "key frobnicate", want: "unknown command frobnicate", hint: "permafrost help key"},
		{args: "frobnicate", want: "unknown command frobnicate", hint: "permafrost help"},
		{args: "--bogus", want: "unknown flag: --bogus", hint: "permafrost --help"},
		{args: "snapshots --bogus", want: "unknown flag: --bogus", hint: "permafrost snapshots --help"},
		{args: "version x", want: "takes no arguments"},
		{args: "run extra", want: "takes no arguments, and got extra", hint: "`permafrost run --help` lists the flags"},
		{args: "snapshot -r ./x --skip secrets,postgres,redis,media", want: "nothing is left to store", hint: "take postgres or media out"},
		{args: "completion", want: "needs the name of a shell", hint: "permafrost completion --help"},
		{args: "completion tcsh", want: "no completion for the shell tcsh"},
		{args: "snapshots", want: "no repository is named", hint: "PERMAFROST_REPOSITORY"},
		{args: "snapshots -r s3://bucket/x", want: "s3:// are not supported", hint: "sftp://"},
		{args: "snapshots -r sftp://u:hunter2@h/p", want: "a password has no place"},
		{args: "snapshots -q -v", want: "exclude each other"},
		{args: "snapshots --limit-upload fast", want: `"fast" is not a size`},
		{args: "snapshots --retry-lock soon", want: "soon"},
		{args: "snapshots --config none.toml", want: "none.toml"},
		{args: "snapshots", env: "PERMAFROST_CONFIG=none.toml", want: "none.toml"},
		{args: "snapshots", env: "PERMAFROST_CONFIG=bad.toml", want: "bad.toml: unknown key keep.dayly", hint: "did you mean keep.daily?"},
		{args: "forget -r x", want: "needs a policy", hint: "--keep-daily"},
		{args: "forget -r x --keep-daily 7 latest", want: "either snapshots or a policy"},
		{args: "forget -r x --keep-daily -2", want: "--keep-daily"},
		{args: "forget -r x --keep-within 30", want: `"30" is not a span of time`},
	} {
		t.Run(tt.args+tt.env, func(t *testing.T) {
			c := newCommand(t, strings.Fields(tt.args)...)
			if tt.env != "" {
				c.Env = append(c.Env, tt.env)
			}
			if err := os.WriteFile(filepath.Join(c.home, "bad.toml"), []byte("[keep]\ndayly = 7\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			r := c.run(t)
			first, rest, _ := strings.Cut(r.stderr, "\n")
			if r.code != exitUsage || r.stdout != "" || !strings.HasPrefix(first, "permafrost: error: ") || !strings.Contains(first, tt.want) {
				t.Errorf("code %d, stdout %q, stderr\n%s", r.code, r.stdout, r.stderr)
			}
			if rest != "" && (!strings.HasPrefix(rest, "permafrost: hint: ") || strings.Count(rest, "\n") != 1) || !strings.Contains(rest, tt.hint) {
				t.Errorf("hint %q, want %q", rest, tt.hint)
			}
			if strings.Contains(r.stderr, "hunter2") {
				t.Errorf("a password is shown: %s", r.stderr)
			}
		})
	}
}

// Every command explains itself, with an example that names it.
func TestHelp(t *testing.T) {
	root := newRoot(&app{ui: console.New(io.Discard, io.Discard)})
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short help %q", c.CommandPath(), c.Short)
		}
		if c.Runnable() && !strings.Contains(c.Example, "  "+c.CommandPath()) {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(root)
}

// Every key of the configuration and every variable belongs to a flag that exists.
func TestSettingsHaveFlags(t *testing.T) {
	root := newRoot(&app{ui: console.New(io.Discard, io.Discard)})
	for _, s := range config.Settings() {
		commands := []*cobra.Command{root}
		if s.Commands != "" {
			commands = nil
			for _, name := range strings.Fields(s.Commands) {
				c, _, err := root.Find([]string{name})
				if err != nil || c == root {
					t.Errorf("%s: there is no command %s", s.Key, name)
					continue
				}
				commands = append(commands, c)
			}
		}
		for _, c := range commands {
			if c.Flags().Lookup(s.Flag) == nil && c.PersistentFlags().Lookup(s.Flag) == nil {
				t.Errorf("%s: %s has no --%s", s.Key, c.CommandPath(), s.Flag)
			}
		}
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "fish", "zsh"} {
		if r := newCommand(t, "completion", shell).run(t); r.code != 0 || len(r.stdout) < 1000 || r.stderr != "" {
			t.Errorf("%s: code %d, %d bytes, stderr %q", shell, r.code, len(r.stdout), r.stderr)
		}
	}
}

// An answer that nobody can read is no success. Whoever wants none says so.
func TestClosedOutput(t *testing.T) {
	for output, want := range map[string]int{">&-": exitUsage, ">/dev/null": exitDone} {
		c := newCommand(t)
		for _, args := range []string{"version", "completion bash", "completion fish"} {
			shell := newCommand(t)
			shell.Path, shell.Args = "/bin/sh", []string{"sh", "-c", "exec " + c.Path + " " + args + " " + output}
			if r := shell.run(t); r.code != want || want != exitDone && !strings.Contains(r.stderr, "standard output is closed") {
				t.Errorf("%s %s: code %d, stderr %q", args, output, r.code, r.stderr)
			}
		}
	}
}

// What can't be written fails the command.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	c := newCommand(t, "version")
	var errs bytes.Buffer
	c.Stdout, c.Stderr = full, &errs
	if err := c.Run(); err == nil || c.ProcessState.ExitCode() != exitFailed || !strings.Contains(errs.String(), "standard output") {
		t.Errorf("%v: %s", err, errs.String())
	}
}
