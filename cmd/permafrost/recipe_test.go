package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"permafrost/internal/sandbox"
)

// recipe returns the indented block of docs/storage.md that begins with a word.
func recipe(t *testing.T, first string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/storage.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n\n    "+first)
	block, _, _ := strings.Cut(rest, "\n\n")
	if !ok {
		t.Fatalf("docs/storage.md has no block that begins with %q", first)
	}
	return strings.ReplaceAll(first+block, "\n    ", "\n") + "\n"
}

// The recipe in docs/storage.md of an append-only account with plain OpenSSH, as it stands: nights go by it, a hostile client changes
// and removes nothing and gets no further key in, and is out once its key is taken away.
func TestPlainAppendOnly(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Fatal("this test takes root")
	}
	s := newSite(t, sandbox.Config{})
	server, err := sandbox.StartSSHD(context.Background(), t.TempDir(), sandbox.SSHDConfig{Commands: recipe(t, "useradd"), Match: recipe(t, "Match User")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop() })
	config := filepath.Join(s.Home, ".ssh", "config")
	entry := fmt.Sprintf("Host storage.example\n  HostName %s\n  Port %d\n  IdentityFile %s\n  IdentitiesOnly yes\n  UserKnownHostsFile %s\n",
		server.Host, server.Port, server.IdentityFile, server.KnownHosts)
	if err := appendTo(config, entry); err != nil {
		t.Fatal(err)
	}
	s.repo = "sftp:mastodon-backup@storage.example:/mastodon"
	toml := "live = \"" + s.Live + "\"\n"
	if err := os.WriteFile(filepath.Join(s.home, "permafrost.toml"), []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run(exitDone, "init", "--append-only", "--recovery-key", s.recovery)
	s.run(exitDone, "snapshot")
	writeMedia(t, filepath.Join(s.System(), "site_uploads", "new.txt"), []byte("second night\n"))
	s.run(exitDone, "snapshot")
	s.run(exitDone, "check", "-i", s.recovery, "--read-data")
	place := filepath.Join(server.Srv(), "permafrost", "mastodon")
	before := objects(t, server.Srv())
	attack(t, config, before)
	after := objects(t, server.Srv())
	for name, was := range before {
		if after[name] != was {
			t.Errorf("%s was lost or has changed", name)
		}
	}
	maps.DeleteFunc(after, func(name, _ string) bool {
		return before[name] != "" || strings.HasPrefix(name, "permafrost/mastodon/")
	})
	if len(after) > 0 {
		t.Errorf("the account writes outside its place: %v", after)
	}
	s.run(exitDone, "check", "-i", s.recovery, "--read-data")
	s.run(exitDone, "restore", "-i", s.recovery, "--snapshot", "latest", "--target", "restored")
	for _, object := range present(filepath.Join(place, "packs")) {
		if info, err := os.Stat(object); err != nil || info.Mode().Perm() != 0o444 {
			t.Errorf("%s: %v, %v", object, info.Mode(), err)
		}
	}
	out, err := exec.Command("nsenter", "-t", fmt.Sprint(server.PID), "-m", "rm", "/etc/ssh/authorized_keys.d/mastodon-backup").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	told(t, s.run(exitFailed, "check"), "logging in as mastodon-backup")
}

// attack tries to change objects, and to stay: each line by itself, whatever becomes of the others.
func attack(t *testing.T, config string, objects map[string]string) {
	t.Helper()
	key := filepath.Join(t.TempDir(), "mine.pub")
	if err := os.WriteFile(key, []byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, dir := range []string{".", "/", "~", "/mastodon", "/nonexistent", "/root", "/home/mastodon-backup", ".."} {
		lines = append(lines, "mkdir "+dir+"/.ssh", "put "+key+" "+dir+"/.ssh/authorized_keys2", "put "+key+" "+dir+"/.ssh/authorized_keys",
			"put "+key+" "+dir+"/authorized_keys")
	}
	lines = append(lines, "mkdir /etc", "mkdir /etc/ssh", "put "+key+" /etc/ssh/authorized_keys.d/mastodon-backup", "symlink /etc /mastodon/link",
		"rmdir /mastodon/log", "rename /mastodon/log /mastodon/log2", "chmod 777 /mastodon")
	tried := 0
	for name := range objects {
		path := "/" + strings.TrimPrefix(name, "permafrost/")
		lines = append(lines, "rm "+path, "rename "+path+" "+path+"x", "chmod 644 "+path, "put "+key+" "+path, "reput "+key+" "+path)
		if tried++; tried == 12 {
			break
		}
	}
	cmd := exec.Command("sftp", "-F", config, "-b", "-", "mastodon-backup@storage.example")
	cmd.Stdin = strings.NewReader("-" + strings.Join(lines, "\n-") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "Permission denied") {
		t.Fatalf("the hostile client: %v\n%s", err, out)
	}
}
