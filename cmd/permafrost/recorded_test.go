package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"permafrost/internal/sandbox"
	"permafrost/source"
)

// recordedFile has what docker's command answered for a Compose project. `make test-compose RECORD=1` writes it.
const recordedFile = "testdata/docker.json"

// A recordedAnswer is one answer of a container engine's command. @LIVE@, @SOCKET@ and "@ENV@" stand for the live directory, the
// engine's socket, and the environment of Mastodon's container.
type recordedAnswer struct {
	Args   string
	Stdout string
}

// standIn is a command that answers as docker did. What is to run in a container it runs here.
const standIn = `#!/bin/sh
dir=${0%/*}
if test "$1" = exec; then
	shift 3
	PATH="$(cat "$dir/bin"):$PATH" exec "$@"
fi
i=0
while test -e "$dir/args.$i"; do
	test "$*" != "$(cat "$dir/args.$i")" || exec cat "$dir/out.$i"
	i=$((i+1))
done
echo "docker was not asked this when its answers were recorded: $*" >&2
exit 1
`

// newStandIn returns the path of a command that answers for a project in the instance's live directory.
func newStandIn(s *site) string {
	s.t.Helper()
	text, err := os.ReadFile(recordedFile)
	var answers []recordedAnswer
	if err == nil {
		err = json.Unmarshal(text, &answers)
	}
	if err != nil || len(answers) < 4 {
		s.t.Fatalf("%s: %d answers, %v", recordedFile, len(answers), err)
	}
	dir := s.t.TempDir()
	socket := filepath.Join(dir, "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
	settings, err := os.ReadFile(filepath.Join(s.Live, ".env.production"))
	if err != nil {
		s.t.Fatal(err)
	}
	var env []string
	for line := range strings.Lines(string(settings)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			quoted, err := json.Marshal(name + "=" + strings.Trim(value, `"'`))
			if err != nil {
				s.t.Fatal(err)
			}
			env = append(env, string(quoted))
		}
	}
	fill := strings.NewReplacer("@LIVE@", s.Live, "@SOCKET@", socket, `"@ENV@"`, strings.Join(env, ","))
	files := map[string]string{"docker": standIn, "bin": s.Postgres.BinDir}
	for i, a := range answers {
		files[fmt.Sprintf("args.%d", i)], files[fmt.Sprintf("out.%d", i)] = fill.Replace(a.Args), fill.Replace(a.Stdout)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	return filepath.Join(dir, "docker")
}

// An instance in a Compose project is stored by what a real engine answered. Its processes are none of this host, so that
// everything goes through programs in the containers.
func TestComposeRecorded(t *testing.T) {
	t.Parallel()
	s := newSite(t, sandbox.Config{})
	s.init()
	path := filepath.Join(s.Live, ".env.production")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.NewReplacer("DB_HOST=127.0.0.1", "DB_HOST=db", "REDIS_HOST=127.0.0.1", "REDIS_HOST=redis").Replace(string(text)))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(exitDone, "snapshot", "--compose-engine", newStandIn(s))
	m := decode[struct {
		Deployment source.Deployment
		Postgres   struct {
			Dump struct {
				TOC int `json:"toc_entries"`
			}
		}
		Redis struct{ Dump struct{ Method string } }
		Media struct {
			Root  string
			Files int
		}
	}](t, s.run(exitDone, "show", "latest", "--json").stdout, "manifest")[0]
	if d := m.Deployment; d.Kind != source.Compose || d.Project != "mastodon" || len(d.Services) != 3 || d.Services[0].Name != "db" || !d.Services[2].Mastodon {
		t.Errorf("deployment %+v", d)
	}
	if m.Postgres.Dump.TOC == 0 || m.Redis.Dump.Method != "replication" || m.Media.Root != s.System() || m.Media.Files == 0 {
		t.Errorf("manifest %+v", m)
	}
	if r := s.run(exitDone, "dump", "-i", s.recovery, "latest", "postgres"); !strings.HasPrefix(r.stdout, "PGDMP") {
		t.Errorf("the dump begins with %.8q", r.stdout)
	}
	if r := s.run(exitIncomplete, "snapshot", "--compose-engine", "none"); !strings.Contains(r.stderr, "db looks like a service of Compose") {
		t.Errorf("without an engine: %s", r.stderr)
	}
}
