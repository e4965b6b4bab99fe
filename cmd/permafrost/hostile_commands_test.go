package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"permafrost/cmd/permafrost/internal/place"
	"permafrost/internal/dirstore"
	"permafrost/internal/hostile"
	"permafrost/internal/sandbox"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/snapshot"
	"permafrost/snapshot/backup"
	"permafrost/source"
)

var hostileSnapshots = flag.Int("snapshots", 60, "hostile snapshots that TestHostileCommands lists and shows")

// A hostileRepo is a repository with a listing of hostile names, and snapshots whose manifests and log entries are hostile.
type hostileRepo struct {
	t     *testing.T
	dir   string // of the repository
	home  string // of who looks at it
	base  []byte // a manifest, as JSON
	owner *forger
	ids   []string
	said  map[string]int // by command, lines that were printed
	codes map[string]int
}

// Whatever is in the manifests, the listings and the log of a repository, the commands that look at it end with a code that is
// documented, and what they print is lines of visible text, or of JSON.
func TestHostileCommands(t *testing.T) {
	t.Parallel()
	const batch = 100 // snapshots that are listed together
	site := newSite(t, sandbox.Config{})
	first := newHostileRepo(t, site)
	for seed := 0; seed < *hostileSnapshots; seed += batch {
		h := first.copyOf(t.TempDir())
		r := rand.New(rand.NewPCG(uint64(seed), 5))
		h.forge(r, min(batch, *hostileSnapshots-seed))
		h.look(r)
		if t.Failed() {
			t.Fatalf("with the seed %d", seed)
		}
		os.RemoveAll(h.home)
	}
	t.Logf("lines printed: %v; exit codes: %v", first.said, first.codes)
}

// newHostileRepo makes a snapshot of an instance whose media have hostile names.
func newHostileRepo(t *testing.T, s *site) *hostileRepo {
	t.Helper()
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	home := t.TempDir()
	h := &hostileRepo{t: t, home: home, dir: filepath.Join(home, "repo"), said: make(map[string]int), codes: make(map[string]int)}
	paint(t, s.System())
	owner, err := keys.NewOwner()
	must(err)
	writer, err := owner.NewWriter("web1")
	must(err, os.Mkdir(h.dir, 0o700))
	st, err := dirstore.Open(h.dir)
	must(err, keys.WriteFile(filepath.Join(home, "recovery.key"), owner), repo.Init(t.Context(), st, owner, writer, repo.InitOptions{}))
	r, err := repo.Open(t.Context(), st, writer, repo.Options{})
	must(err)
	inst, err := source.Load(s.Live, "", source.Addresses{})
	must(err)
	res, err := backup.Create(t.Context(), r, inst, backup.Options{})
	must(err)
	h.base, err = res.Manifest.Encode()
	must(err)
	h.owner = &forger{t, h.dir, owner}
	return h
}

// paint makes files, directories and links with hostile names.
func paint(t *testing.T, dir string) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 6))
	name := func() string {
		n := strings.ReplaceAll(hostile.Name(r), "/", "\\")
		return n[:min(len(n), 250)]
	}
	for i := range 40 {
		below := filepath.Join(dir, name())
		if i%2 == 0 || os.Mkdir(below, 0o755) != nil {
			below = dir
		}
		for range 3 {
			os.WriteFile(filepath.Join(below, name()), []byte(painted), 0o644)
			os.Symlink(hostile.Name(r)+painted, filepath.Join(below, name()))
			os.Link(filepath.Join(dir, "first"), filepath.Join(below, name()))
		}
		if i == 0 {
			os.WriteFile(filepath.Join(dir, "first"), nil, 0o644)
		}
	}
}

func (h *hostileRepo) copyOf(dir string) *hostileRepo {
	h.t.Helper()
	if err := os.CopyFS(dir, os.DirFS(h.home)); err != nil {
		h.t.Fatal(err)
	}
	c := *h
	c.home, c.dir = dir, filepath.Join(dir, "repo")
	c.owner = &forger{h.t, c.dir, h.owner.key}
	return &c
}

// forge publishes snapshots that nobody has made.
func (h *hostileRepo) forge(r *rand.Rand, n int) {
	h.t.Helper()
	logs, err := os.ReadDir(filepath.Join(h.dir, "log"))
	if err != nil {
		h.t.Fatal(err)
	}
	last := logs[len(logs)-1].Name()
	seq, err := strconv.ParseUint(last, 10, 64)
	if err != nil {
		h.t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(h.dir, "log", last))
	if err != nil {
		h.t.Fatal(err)
	}
	for len(h.ids) < n {
		m := new(snapshot.Manifest)
		if err := json.Unmarshal(h.base, m); err != nil {
			h.t.Fatal(err)
		}
		hostile.Rewrite(r, m)
		if r.IntN(4) > 0 {
			m.Instance = "social.example" // for whom the listing was stored
			if base := new(snapshot.Manifest); json.Unmarshal(h.base, base) == nil {
				m.Instance = base.Instance
			}
		}
		text, err := json.Marshal(m)
		if err != nil {
			h.t.Fatal(err)
		}
		if r.IntN(20) == 0 {
			text[r.IntN(len(text))] ^= 1 << r.IntN(8)
		}
		head := &ledger.Head{Seq: seq, Hash: store.Name(h.owner.put("junk-", data))}
		os.Remove(filepath.Join(h.dir, "junk-"+head.Hash.String()))
		seq++
		e := &ledger.Entry{Seq: seq, Prev: head, On: h.owner.basis(seq - 1), Time: time.Now().UTC().Truncate(time.Second), Snapshot: &ledger.SnapshotEntry{
			Manifest: h.owner.put("manifests/", h.owner.seal("PFMANIF\x01", zip(text))), SnapshotInfo: m.Info()}}
		if r.IntN(4) == 0 {
			e.Snapshot.Date = hostile.Name(r)
		}
		body, err := json.Marshal(e)
		if err != nil {
			h.t.Fatal(err)
		}
		data = h.owner.seal("PFLOGEN\x01", body)
		h.owner.write(fmt.Sprintf("log/%010d", seq), data)
		h.ids = append(h.ids, h.owner.snapshotID(e.Snapshot))
	}
}

// look runs the commands that look, on all snapshots together and on each.
func (h *hostileRepo) look(r *rand.Rand) {
	h.t.Helper()
	both := func(args ...string) {
		h.t.Helper()
		text, object := h.run(args...), h.run(append(slices.Clone(args), "--json")...)
		a, b := strings.Count(text.stdout, "\n"), strings.Count(object.stdout, "\n")
		if text.code != object.code || a != b && (args[0] == "ls" || args[0] == "find") {
			h.t.Errorf("%q: %d lines and code %d, as JSON %d and %d", args, a, text.code, b, object.code)
		}
	}
	both("snapshots")
	both("forget", "--keep-last", "1", "--dry-run")
	both("forget", "--keep-daily", "3", "--dry-run")
	both("confirm", "--dry-run", h.ids[0], h.ids[len(h.ids)-1])
	both(append([]string{"forget", "--dry-run"}, h.ids[:min(len(h.ids), 10)]...)...)
	both("find", hostile.Mark+"*", "--in", h.ids[0])
	h.run("find", "*")
	h.run("find", "*", "--long")
	for _, id := range h.ids {
		id = id[:16]
		both("show", id)
		h.run(slices.Concat([]string{"ls", id}, [][]string{nil, {"--long"}, {"--json"}}[r.IntN(3)])...)
		h.run("find", "*"+hostile.Mark, "--in", id)
		if name := hostile.Name(r); !strings.HasPrefix(name, "-") { // else it is a flag
			h.run("ls", id, name)
			h.run("find", name, "--in", id)
			h.run("show", name)
		}
	}
}

// run runs a command in this process, as main does.
func (h *hostileRepo) run(args ...string) result {
	h.t.Helper()
	var out, errs bytes.Buffer
	where := []string{"-r", h.dir, "-i", filepath.Join(h.home, "recovery.key"), "--config", "/dev/null", "--writer-key", "",
		"--state-dir", filepath.Join(h.home, "state"), "--cache-dir", filepath.Join(h.home, "cache")}
	code := run(slices.Concat(args[:1], where, args[1:]), strings.NewReader(""), &out, &errs, place.Options{})
	r := result{code, out.String(), errs.String()}
	checkTerminal(h.t, append([]string{"in process"}, args...), r)
	if !strings.Contains("\n"+helpExitCodes, fmt.Sprintf("\n  %-4d ", code)) || code == exitInterrupted {
		h.t.Errorf("%q ends with %d", args, code)
	}
	if (code == exitDone) == strings.Contains(r.stderr, "permafrost: error: ") && !slices.Contains(args, "--json") {
		h.t.Errorf("%q ends with %d, and says\n%s", args, code, r.stderr)
	}
	if slices.Contains(args, "--json") {
		for line := range strings.Lines(r.stdout + r.stderr) {
			if !json.Valid([]byte(line)) {
				h.t.Errorf("%q: not JSON: %s", args, line)
			}
		}
	}
	h.said[args[0]] += strings.Count(r.stdout, "\n")
	h.codes[fmt.Sprintf("%s %d", args[0], code)]++
	return r
}
