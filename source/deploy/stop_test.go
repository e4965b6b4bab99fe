package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"permafrost/internal/escape"
	"permafrost/source"
)

// What stands for the engine: a container runs while there is a file of its name.
const standIn = `#!/bin/sh
cd "${0%/*}" || exit
case $1 in
ps)
	for a; do case $a in *compose.service=*) name=${a##*=} ;; esac; done
	case $2 in
	--all) test -e made/"$name" && echo "$name" ;;
	*) test -e runs/"$name" && echo "$name" ;;
	esac
	exit 0 ;;
inspect) test -e runs/"$4" && echo true || echo false ;;
stop) rm runs/"$2" ;;
*) exit 1 ;;
esac
`

// A service of Mastodon that stood still when the snapshot was made is stopped with the others where it runs now: it would write to what
// is replaced.
func TestIdleServicesAreStopped(t *testing.T) {
	s := Saved{Live: "/home/mastodon/live", User: "991", Deployment: source.Deployment{Kind: source.Compose, Project: "m", Services: []source.Service{
		{Name: "web", Mastodon: true, Running: true}, {Name: "sidekiq-2", Mastodon: true}, {Name: "never", Mastodon: true}, {Name: "db", Running: true}}}}
	part := WayBack(s).Ready
	dir := t.TempDir()
	script := "set -euo pipefail\nsay() { printf '%s\\n' \"$*\"; }\nfail() { say \"$*\"; exit 1; }\n" + part.Code
	for _, v := range part.Vars {
		var words []string
		for _, value := range v.Values {
			words = append(words, escape.Shell(value))
		}
		if v.Name == "engine" {
			words = []string{escape.Shell(filepath.Join(dir, "engine"))}
		}
		if v.Array {
			script += "\n" + v.Name + "=(" + strings.Join(words, " ") + ")"
		} else {
			script += "\n" + v.Name + "=" + strings.Join(words, " ")
		}
	}
	script += "\nsay before: $(mastodon_runs)\nmastodon_stop\nsay after: $(mastodon_runs)\n"
	for _, name := range []string{"made/web", "made/sidekiq-2", "made/db", "runs/web", "runs/sidekiq-2", "runs/db"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "engine"), []byte(standIn), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "bash", "-c", script).CombinedOutput()
	if want := "before: web sidekiq-2\nafter:\n"; err != nil || string(out) != want {
		t.Errorf("%v: %q, want %q", err, out, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "runs/db")); err != nil {
		t.Error("the database was stopped too")
	}
}
