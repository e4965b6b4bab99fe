package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"filippo.io/age"
	"github.com/rogpeppe/go-internal/testscript"

	"permafrost/internal/dirstore"
	"permafrost/internal/hostile"
	"permafrost/internal/sandbox"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/lease"
)

// Regressions that are a command, its exit code and what it says are scripts, testdata/script/*.txt. Beside the commands of
// testscript (exec, stdout, stderr, exists, cmp, …) a script has
//
//	permafrost ARGS…               a command that must end with 0
//	exits CODE ARGS…               a command that must end with another code
//	json TYPE OBJECT               a line of the last standard output has this message_type, and these fields
//	capture NAME REGEXP            sets a variable to what the last output has of this
//	identity FILE                  makes an age identity of the old kind, and RECIPIENT
//	newest COUNT                   the snapshot of the last run is the newest that is listed, of so many
//	lease DESCRIPTION, release     somebody else is at work, and no longer
//	instance                       starts a Mastodon instance at LIVE, and the server for its backups
//
// It runs in $WORK, on a machine with nothing on it.
func TestScripts(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, filepath.Join(bin, "permafrost"))
	}
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Values["lease"] = new(atomic.Pointer[lease.Lease])
			e.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			for name, value := range map[string]string{
				runMain: "1", "TZ": "UTC", "HOME": e.WorkDir, "PERMAFROST_CONFIG": "/dev/null", "PERMAFROST_REPOSITORY": e.WorkDir + "/repo",
				"PERMAFROST_STATE_DIR": e.WorkDir + "/state", "PERMAFROST_CACHE_DIR": e.WorkDir + "/cache", "PERMAFROST_WRITER_KEY": e.WorkDir + "/writer.key",
			} {
				e.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"permafrost": func(s *testscript.TestScript, neg bool, args []string) {
				scriptRun(s, neg, append([]string{"0"}, args...))
			},
			"exits": scriptRun, "json": scriptJSON, "capture": scriptCapture, "identity": scriptIdentity, "instance": scriptInstance,
			"newest": scriptNewest, "lease": scriptLease, "release": scriptLease,
		},
	})
}

// scriptRun runs a command. What it says is one that a terminal may be shown.
func scriptRun(s *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		s.Fatalf("usage: exits CODE ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	s.Check(err)
	code := 0
	if err = s.Exec("permafrost", args[1:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			s.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if code != want {
		s.Fatalf("exit code %d, want %d", code, want)
	}
	for _, name := range []string{"stdout", "stderr"} {
		if name == "stdout" && slices.Contains(rawOutput, args[1]) {
			continue
		}
		if b := hostile.Output([]byte(s.ReadFile(name))); b != nil {
			s.Fatalf("%s has a byte of control: %q", name, b)
		}
	}
}

// scriptJSON looks for a line of JSON; with ! there must be none.
func scriptJSON(s *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		s.Fatalf("usage: [!] json TYPE OBJECT")
	}
	var want map[string]any
	s.Check(json.Unmarshal([]byte(args[1]), &want))
	want["message_type"] = args[0]
	found := false
	for line := range strings.Lines(s.ReadFile("stdout")) {
		var got map[string]any
		s.Check(json.Unmarshal([]byte(line), &got))
		fits := true
		for name, value := range want {
			fits = fits && reflect.DeepEqual(got[name], value)
		}
		found = found || fits
	}
	if found == neg {
		s.Fatalf("a line with %v: %v", want, found)
	}
}

// scriptCapture sets a variable to the first group of a pattern, or all that it matches.
func scriptCapture(s *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		s.Fatalf("usage: capture NAME REGEXP")
	}
	re, err := regexp.Compile("(?m)" + args[1])
	s.Check(err)
	m := re.FindStringSubmatch(s.ReadFile("stdout") + s.ReadFile("stderr"))
	if m == nil {
		s.Fatalf("nothing matches %s", args[1])
	}
	s.Setenv(args[0], cmp.Or(strings.Join(m[1:], ""), m[0]))
}

// scriptNewest lists the snapshots after a run in JSON.
func scriptNewest(s *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		s.Fatalf("usage: newest COUNT")
	}
	field := func(name string) (all []string) {
		for _, m := range regexp.MustCompile(`"`+name+`":"([0-9a-f]{64})"`).FindAllStringSubmatch(s.ReadFile("stdout"), -1) {
			all = append(all, m[1])
		}
		return all
	}
	made := field("snapshot")
	s.Check(s.Exec("permafrost", "snapshots", "--json"))
	ids := field("id")
	if len(made) != 1 || strconv.Itoa(len(ids)) != args[0] || ids[len(ids)-1] != made[0] {
		s.Fatalf("run made %v; listed are %v", made, ids)
	}
}

// scriptLease begins and ends somebody else's work.
func scriptLease(s *testscript.TestScript, neg bool, args []string) {
	const held = "lease"
	if len(args) == 0 {
		s.Value(held).(*atomic.Pointer[lease.Lease]).Load().Release()
		return
	}
	_, dir, _ := strings.Cut(s.Getenv("PERMAFROST_REPOSITORY"), "example:")
	st, err := dirstore.Open(dir)
	s.Check(err)
	id, err := keys.LoadIdentity(s.Getenv("PERMAFROST_WRITER_KEY"), keys.Prompt{})
	s.Check(err)
	r, err := repo.Open(context.Background(), st, id.Keyring, repo.Options{})
	s.Check(err)
	l, err := r.NewLease(context.Background(), args[0])
	s.Check(err)
	s.Value(held).(*atomic.Pointer[lease.Lease]).Store(l)
}

func scriptIdentity(s *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		s.Fatalf("usage: identity FILE")
	}
	id, err := age.GenerateX25519Identity()
	s.Check(err)
	s.Check(os.WriteFile(s.MkAbs(args[0]), []byte(id.String()+"\n"), 0o600))
	s.Setenv("RECIPIENT", id.Recipient().String())
}

func scriptInstance(s *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		s.Fatalf("usage: instance")
	}
	i, err := sandbox.Start(context.Background(), sandbox.Config{Statuses: 300, Files: 60})
	s.Check(err)
	s.Defer(func() { s.Check(i.Stop()) })
	for _, v := range i.Env() {
		if name, value, _ := strings.Cut(v, "="); name != "PATH" {
			s.Setenv(name, value)
		}
	}
	config := s.MkAbs("permafrost.toml")
	s.Check(os.WriteFile(config, []byte("live = \""+i.Live+"\"\n[keep]\nlast = 1\n"), 0o600))
	s.Setenv("PERMAFROST_CONFIG", config)
	s.Setenv("PERMAFROST_REPOSITORY", "sftp:backup.example:"+i.SSHD.Root+"/repo")
	s.Setenv("LIVE", i.Live)
}
