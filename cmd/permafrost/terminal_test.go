package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/console"
	"permafrost/cmd/permafrost/internal/report"
	"permafrost/internal/escape"
	"permafrost/internal/hint"
	"permafrost/internal/hostile"
	"permafrost/internal/keeper"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/snapshot"
	"permafrost/snapshot/retain"
	"permafrost/source/postgres"
	"permafrost/source/redis"
)

var manifests = flag.Int("manifests", 2000, "hostile manifests that TestHostileManifests shows")

// painted is what an attacker would have a terminal show.
const painted = "\x1b[1A\x1b[2K\u009b2Jsnapshot done, all well\r\nfor sure\x07\u202e"

// rawOutput are the commands whose standard output is no text for a terminal.
var rawOutput = []string{"dump", "completion", "serve-sftp", "__complete"}

// checkTerminal fails where a command has written a byte of control, or a character that reorders or hides others.
func checkTerminal(t *testing.T, args []string, r result) {
	t.Helper()
	out := r.stdout
	if slices.ContainsFunc(args, func(arg string) bool { return slices.Contains(rawOutput, arg) }) {
		out = ""
	}
	for name, text := range map[string]string{"standard output": out, "standard error": r.stderr} {
		if b := hostile.Output([]byte(text)); b != nil {
			t.Errorf("permafrost %q: %s has a byte of control: %q", args, name, b)
		}
	}
}

// manifestOf returns a manifest that has something of everything.
func manifestOf(at time.Time) *snapshot.Manifest {
	yes := true
	m := &snapshot.Manifest{
		Format: snapshot.Format, Instance: "social.example", WebDomain: "web.example", Date: "2026-06-27", Created: at, Finished: at, Host: "web1", Version: "1",
		Tags: []string{"a", "b"}, Live: "/home/mastodon/live", User: "mastodon",
		Boundary: snapshot.Boundary{LSN: "0/1", Time: at, Redis: at, MediaTo: at},
		Users:    map[uint32]string{1: "a"}, Warnings: []string{"w"}, Sidekiq: new(snapshot.Redis),
	}
	m.Secrets.Files = []snapshot.SecretFile{{Path: "/home/mastodon/live/.env.production"}, {Path: "/etc/x"}}
	m.Postgres.Database, m.Postgres.User = "d", "u"
	m.Postgres.Server = postgres.Facts{Version: "15", Extensions: map[string]string{"e": "1"}, Rows: map[string]int64{"public.users": 1}}
	m.Postgres.Dump = postgres.DumpFacts{Entries: 1, Note: "n", Kinds: map[string]int{"TABLE": 1}}
	m.Redis.Server = redis.Facts{Version: "7", Dir: "/d", File: "f", AppendOnly: &yes, Queues: &redis.Queues{Queues: map[string]int64{"q": 1}}}
	m.Redis.Dump.Method = "bgsave"
	m.Media.Root, m.Media.Excludes, m.Media.LeftOut = "/home/mastodon/live/public/system", []snapshot.Text{"x"}, 3
	m.Media.Left = []snapshot.LeftOut{{Path: "a", Reason: "r"}}
	return m
}

// show writes all that the commands that look say of a manifest, a listing and a log, and returns how many lines that should be.
func show(r *rand.Rand, u *console.Console, m *snapshot.Manifest) (lines, messages int) {
	ref := ledger.SnapshotRef{SnapshotInfo: m.Info()}
	ref.Writer = hostile.Name(r)
	say := func(l []string) { u.Lines(l); lines += len(l) }
	say(report.Snapshot(&keeper.Manifest{Ref: ref, Doubts: keeper.Doubts(hostileVerdict(r)), Manifest: m}))
	say(report.Snapshots([]keeper.Listed{keeper.NewListed(&ref, hostileVerdict(r)), {}}))
	say(report.Decisions([]retain.Decision{{Snapshot: ref, Reasons: []string{hostile.Name(r)}}, {}}, true))
	files := []keeper.Entry{{Path: snapshot.Text("media/" + hostile.Path(r)), Type: "l", Target: snapshot.Text(hostile.Name(r)), Link: snapshot.Text(hostile.Name(r))}}
	for _, f := range m.Secrets.Files {
		files = append(files, keeper.Entry{Path: "secrets" + f.Path, Type: "f", Mode: f.Mode})
	}
	for _, l := range files {
		n := report.New(u)
		n.Tell(l)
		n.Long = true
		n.Tell(keeper.Match{Snapshot: ref.ID.String(), Date: ref.Date, Entry: l})
		lines += 2
	}
	u.Print("forgotten by the caller: %s", hostile.Name(r))
	p := ledger.Person{Name: hostile.Name(r), Role: keys.RoleWriter, Instance: hostile.Name(r)}
	u.Print("%s %s", p.Name, instanceName(&p))
	u.Warn("%v", keeper.Suspicion(&ref, hostileVerdict(r)))
	u.Say("%v", hostile.Name(r))
	u.Error(hint.Wrap(fmt.Errorf("a: %w", errors.New(hostile.Name(r))), hostile.Name(r)), 1, hostile.Name(r))
	return lines + 2, 4
}

// hostileVerdict holds what a hostile log entry can bring into a doubt.
func hostileVerdict(r *rand.Rand) *retain.Verdict {
	return &retain.Verdict{Doubts: []retain.Doubt{{Why: hostile.Name(r)}, {Component: retain.Media, What: "files", Have: r.Int64() - r.Int64(), Had: r.Int64()}}}
}

// Whatever a manifest, a listing, or a log holds, what is told of it is lines of visible text, and as many as it should be.
func TestHostileManifests(t *testing.T) {
	at := time.Date(2026, 6, 27, 3, 0, 0, 0, time.UTC)
	for seed := range *manifests {
		r := rand.New(rand.NewPCG(uint64(seed), 2))
		m := manifestOf(at)
		hostile.Rewrite(r, m)
		var out, errs bytes.Buffer
		u := console.New(&out, &errs)
		lines, messages := show(r, u, m)
		checkTerminal(t, []string{"text"}, result{0, out.String(), errs.String()})
		if got := bytes.Count(out.Bytes(), []byte("\n")); got != lines {
			t.Errorf("%d lines, want %d:\n%s", got, lines, out.Bytes())
		}
		if got := bytes.Count(errs.Bytes(), []byte("\n")); got != messages {
			t.Errorf("%d messages, want %d:\n%s", got, messages, errs.Bytes())
		}
		out.Reset()
		errs.Reset()
		u.InJSON = true
		u.JSON(keeper.Manifest{Manifest: m})
		show(r, u, m)
		checkTerminal(t, []string{"json"}, result{0, out.String(), errs.String()})
		for line := range bytes.Lines(append(out.Bytes(), errs.Bytes()...)) {
			if !json.Valid(line) {
				t.Errorf("not JSON: %s", line)
			}
		}
		var back snapshot.Manifest
		line, _, _ := bytes.Cut(out.Bytes(), []byte("\n"))
		if err := json.Unmarshal(line, &back); err != nil || back.Secrets.Files[1].Path != m.Secrets.Files[1].Path {
			t.Errorf("JSON says %q for %q: %v", back.Secrets.Files[1].Path, m.Secrets.Files[1].Path, err)
		}
		if t.Failed() {
			t.Fatalf("with the seed %d", seed)
		}
	}
}

// A message is bounded, however long what it quotes is.
func TestLongMessages(t *testing.T) {
	var out, errs bytes.Buffer
	u := console.New(&out, &errs)
	long := strings.Repeat("x\x1b", 10<<20)
	u.Warn("%s", long)
	u.Error(errors.New(long), 1, "")
	u.InJSON = true
	u.Warn("%s", long)
	u.Error(errors.New(long), 1, "")
	if errs.Len() > 50*escape.MaxMessage {
		t.Errorf("%d bytes", errs.Len())
	}
}

// Each command is asked for what is not there by names that paint.
func TestHostileArguments(t *testing.T) {
	root := newRoot(&app{ui: console.New(io.Discard, io.Discard)})
	var visit func(c *cobra.Command, path []string)
	visit = func(c *cobra.Command, path []string) {
		for _, sub := range c.Commands() {
			visit(sub, append(slices.Clone(path), sub.Name()))
		}
		if c.Runnable() && len(path) > 0 {
			for _, args := range [][]string{{painted}, {painted, painted, painted, painted}, {"--" + painted}, {"-r", painted}, {"-r", "sftp://" + painted + "/x"}, {"--config", painted}, {"-i", painted, "-r", "./nowhere"}, {"--help"}} {
				cmd := newCommand(t, append(slices.Clone(path), args...)...)
				cmd.Env = append(cmd.Env, "XDG_CONFIG_HOME=/"+painted, "PERMAFROST_IDENTITY=/"+painted)
				cmd.run(t)
			}
		}
	}
	visit(root, nil)
}

// Whatever paints where permafrost reads, nothing of it reaches the terminal.
func (w *witness) testTerminal(t *testing.T) {
	name := filepath.Join(w.root, painted+"\xff")
	if err := errors.Join(os.WriteFile(name, []byte(painted), 0o644), os.Symlink(painted, name+".link")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(name); os.Remove(name + ".link") })
	secret := filepath.Join(t.TempDir(), painted)
	if err := os.WriteFile(secret, []byte(painted), 0o600); err != nil {
		t.Fatal(err)
	}
	w.run(exitUsage, "key", "add", "writer", "--name", "w"+painted, "--key-file", filepath.Join(w.home, "painted.key"), "-i", w.recovery)
	w.command("snapshot", "--date", "2026-07-02", "--tag", painted).run(t)
	w.run(exitDated, "snapshot", "--date", "2026-07-02", "--secret", filepath.Dir(secret), "-v")
	all := w.snapshots(t) // by their IDs: what looks wrong is no latest
	latest, before := all[len(all)-1].ID, all[len(all)-2].ID
	for _, json := range []string{"--json", "-v"} {
		for _, args := range [][]string{{"snapshots"}, {"show", latest}, {"ls", latest}, {"ls", latest, "-l"}, {"find", "*link*", "-l"}, {"diff", before, latest}, {"key", "list"}, {"check"},
			{"restore", "-i", w.recovery, "--snapshot", latest, "--target", filepath.Join(t.TempDir(), "restored"), "--component", "secrets", "--component", "media"}, {"dump", "-i", w.recovery, latest, "secrets" + secret}} {
			if r := w.run(exitDone, append(args, json)...); args[0] == "ls" && !strings.Contains(r.stdout, "all well") {
				t.Errorf("%v does not show the file:\n%s", args, r.stdout)
			}
		}
	}
	sums := filepath.Join(t.TempDir(), "r")
	w.run(exitDone, "restore", "-i", w.recovery, "--snapshot", latest, "--target", sums, "--component", "secrets")
	guide, err := os.ReadFile(filepath.Join(sums, "RESTORE.md"))
	if b := hostile.Output(guide); b != nil || err != nil {
		t.Errorf("RESTORE.md: %q, %v", b, err)
	}
	for _, set := range []map[string]string{
		{"DB_HOST": "127.0.0.1", "DB_PORT": port(t, "E"+string([]byte{0, 0, 0, byte(4 + len(pgError(painted)))})+pgError(painted)), "DATABASE_URL": ""},
		{"REDIS_URL": "redis://127.0.0.1:" + port(t, "-ERR "+painted+"\r\n")},
		{"DB_HOST": `"` + painted + `"`, "DATABASE_URL": ""},
		{"DATABASE_URL": `"postgresql://` + painted + `"`},
		{"LOCAL_DOMAIN": `"` + painted + `"`},
	} {
		if r := w.command("snapshot", "--strict", "--live", w.live(set)).run(t); r.code != exitFailed || !strings.Contains(r.stderr, "error: ") {
			t.Errorf("%v: exit code %d\n%s", set, r.code, r.stderr)
		}
	}
	ssh := filepath.Join(t.TempDir(), "ssh")
	if err := os.WriteFile(ssh, []byte("#!/bin/sh\nprintf '"+painted+"\\nPermission denied "+painted+"\\n' >&2\nexit 255\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := w.command("snapshots", "--ssh-command", ssh).run(t)
	told(t, r, "all well", "Permission denied")
}

// pgError returns the body of an error message of PostgreSQL's.
func pgError(text string) string {
	return "SFATAL\x00VFATAL\x00C28000\x00M" + text + "\x00D" + text[:20] + "\x00\x00"
}

// port returns the port of a server that says the same to everybody who says something.
func port(t *testing.T, said string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(10 * time.Second))
				if _, err := c.Read(make([]byte, 1000)); err == nil {
					io.WriteString(c, said)
					io.Copy(io.Discard, c)
				}
			}()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
