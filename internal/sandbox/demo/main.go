// Demo plays three nights of a small Mastodon instance: it backs the instance
// up with the permafrost command as its administrator would, lets days pass,
// restores, and compares every restored part with the source. It ends with an
// error at the first thing that is wrong, and leaves nothing behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"permafrost/internal/sandbox"
)

func main() {
	permafrost := flag.String("permafrost", "bin/permafrost", "the `program` to show")
	statuses := flag.Int("statuses", 0, "size of the database; 60000 make a dump of some 57 MB (default 60000)")
	files := flag.Int("files", 0, "size of the media tree (default 2000)")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	quiet := context.AfterFunc(ctx, func() { fmt.Fprintln(os.Stderr, "demo: interrupted; cleaning up") })
	err := run(ctx, *permafrost, sandbox.Config{Seed: 1, Statuses: *statuses, Files: *files})
	switch {
	case !quiet():
		os.Exit(130)
	case err != nil:
		fmt.Fprintf(os.Stderr, "demo: error: %v\n", err)
		os.Exit(1)
	}
	stop()
}

func run(ctx context.Context, permafrost string, c sandbox.Config) (err error) {
	permafrost, err = filepath.Abs(permafrost)
	if err != nil {
		return err
	}
	began := time.Now()
	say("A small Mastodon instance: PostgreSQL, Redis, media, and an SSH server to put backups on.")
	i, err := sandbox.Start(ctx, c)
	if err != nil {
		return fmt.Errorf("starting the sandbox: %w", err)
	}
	defer func() { err = errors.Join(err, i.Stop()) }()

	d := &demo{
		ctx: ctx, program: permafrost, instance: i,
		url: "sftp:backup.example:" + filepath.Join(i.SSHD.Root, "mastodon"),
	}
	if err := d.play(); err != nil {
		return err
	}
	fmt.Printf("\nAll came back as it was. (%s)\n", time.Since(began).Round(time.Second/10))
	return nil
}

// demo is one performance.
type demo struct {
	ctx      context.Context
	program  string // permafrost's path
	instance *sandbox.Instance
	url      string // of the repository
}

// say prints a line of the story.
func say(format string, args ...any) { fmt.Printf("\n# "+format+"\n", args...) }

// run runs a command line as typed in the administrator's home directory. It
// must end with code.
func (d *demo) run(code int, line string) error {
	return d.runIn(d.instance.Home, code, line)
}

// runIn is run in another directory. Words end at blanks; there is no quoting.
func (d *demo) runIn(dir string, code int, line string) error {
	fmt.Printf("\n$ %s\n", line)
	words := strings.Fields(line)
	name := words[0]
	if name == "permafrost" {
		name = d.program
	}
	cmd := exec.CommandContext(d.ctx, name, words[1:]...)
	cmd.Dir = dir
	cmd.Env = append(d.instance.Env(), "PERMAFROST_CONFIG="+filepath.Join(d.instance.Home, "permafrost.toml"))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	began := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("%s: %w", words[0], err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		return fmt.Errorf("%q ended with code %d, want %d", line, got, code)
	}
	fmt.Printf("(%.1f s)\n", time.Since(began).Seconds())
	return d.ctx.Err()
}
