// Bench compares the permafrost command with restic, borg and rsync, as far as they are on PATH, on a Mastodon-shaped
// instance of its own making and over one SSH server of its own: in turn, in one run, on the same data.
//
//	bench [-scale 1] [-nights 3] [-mode MODE] [-before PROGRAM] [-json]
//
// The modes are:
//
//	run      a first snapshot, nights of churn, check with all data read, restore, forget with prune; and OpenSSH's
//	         sftp putting and getting the same bytes. Scale 1 is some 420 MB of dump, and 6 GB of media in 50,000 files
//	growth   what the dump of each night stores, against restic; then how fast the first and the last dump come back
//	latency  a first snapshot and a restore behind a relay that delays each way by half of 0, 20, 50 and 100 ms
//	files    a million small files times the scale: a first night, and one without a change
//	wayback  from the repository to a database that is restored and verified, NIGHTS times
//	all      run and growth
//
// Progress goes to stderr, tables to stdout. Times are of one run on one machine: only their ratios say something.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"permafrost/internal/sandbox"
)

// Scale 1 of an instance.
const (
	statuses = 440_000 // rows, which make a dump of some 430 MB
	files    = 50_000
)

type bench struct {
	ctx    context.Context
	scale  float64
	nights int
	binary string // permafrost's path
	before string // that of an earlier one, to be compared with; or ""
	json   bool
	dump   int64 // bytes of the database's dump, where a mode needs to know
	*sandbox.Instance
}

func main() {
	b := &bench{}
	flag.Float64Var(&b.scale, "scale", 1, "size of the instance")
	flag.IntVar(&b.nights, "nights", 3, "days that pass")
	mode := flag.String("mode", "run", "what to measure: run, growth, latency, files, wayback or all")
	flag.BoolVar(&b.json, "json", false, "print measurements as JSON, one a line, and no tables")
	flag.StringVar(&b.binary, "permafrost", "bin/permafrost", "the `program` to measure")
	flag.StringVar(&b.before, "before", "", "an earlier permafrost, a `program` to measure beside it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	b.ctx = ctx
	if err := b.run(*mode); err != nil {
		fmt.Fprintf(os.Stderr, "bench: error: %v\n", err)
		os.Exit(1)
	}
}

func (b *bench) run(mode string) (err error) {
	modes := map[string][]func() error{
		"run": {b.compare}, "growth": {b.growth}, "latency": {b.latency}, "files": {b.smallFiles}, "wayback": {b.wayBack}, "all": {b.compare, b.growth},
	}
	steps, ok := modes[mode]
	if !ok || b.scale <= 0 || b.nights < 0 || flag.NArg() > 0 {
		return errors.New("wrong arguments: see -h")
	}
	for _, path := range []*string{&b.binary, &b.before} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
		if _, err := os.Stat(*path); err != nil {
			return fmt.Errorf("no permafrost to measure (make build makes one): %w", err)
		}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// with runs f with an instance of a size, which ends after it.
func (b *bench) with(statuses, files float64, f func() error) (err error) {
	say("making an instance")
	b.Instance, err = sandbox.Start(b.ctx, sandbox.Config{Seed: 1, Statuses: max(300, int(statuses)), Files: max(60, int(files))})
	if err != nil {
		return fmt.Errorf("starting the sandbox: %w", err)
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	return f()
}

// say tells what is being done.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
