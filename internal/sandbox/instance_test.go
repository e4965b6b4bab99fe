package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"permafrost/internal/sandbox"
	"permafrost/internal/sandbox/compare"
)

func start(t *testing.T, c sandbox.Config) *sandbox.Instance {
	t.Helper()
	c.Dir = t.TempDir()
	i, err := sandbox.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Stop() })
	return i
}

// state is all that an instance holds and that repeats: no times of
// directories, no passwords.
func state(t *testing.T, i *sandbox.Instance) compare.State {
	t.Helper()
	all := make(compare.State)
	tree, err := compare.Tree(i.System())
	if err != nil {
		t.Fatal(err)
	}
	for path, description := range tree {
		if strings.HasPrefix(description, "d") || strings.HasPrefix(description, "L") {
			description, _, _ = strings.Cut(description, " ")
		}
		all["file "+path] = description
	}
	db, err := compare.Database(t.Context(), i.Postgres, sandbox.Database)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := compare.Redis(t.Context(), i.Redis)
	if err != nil {
		t.Fatal(err)
	}
	for name, description := range keys {
		db[name] = description
	}
	for name, description := range db {
		all[name] = description
	}
	return all
}

func query(t *testing.T, i *sandbox.Instance, sql string) string {
	t.Helper()
	out, err := i.Postgres.Query(t.Context(), sandbox.Database, sql)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestInstance(t *testing.T) {
	i := start(t, sandbox.Config{Statuses: 3000, Files: 300})
	first := state(t, i)
	rowsHaveFiles(t, i)
	markersAreThere(t, i)

	env, err := os.Stat(filepath.Join(i.Live, ".env.production"))
	if err != nil {
		t.Fatal(err)
	}
	if env.Mode() != 0o600 {
		t.Errorf(".env.production has mode %v", env.Mode())
	}
	if out, err := exec.CommandContext(t.Context(), "ssh", "-F", i.Home+"/.ssh/config", "-o", "BatchMode=yes", "backup.example", "echo", "in").
		CombinedOutput(); string(out) != "in\n" {
		t.Errorf("ssh backup.example: %q, %v", out, err)
	}

	for day := range 3 {
		if err := i.Churn(t.Context(), uint64(day)); err != nil {
			t.Fatal(err)
		}
		rowsHaveFiles(t, i)
	}
	changed := make(map[string]int)
	for name, description := range state(t, i) {
		if first[name] != description {
			part, _, _ := strings.Cut(name, " ")
			changed[part]++
		}
	}
	if changed["table"] < 10 || changed["file"] < 10 || changed["db0"] < 10 {
		t.Errorf("three days changed only %v", changed)
	}
	markersAreThere(t, i)

	dir := i.Dir
	if err := i.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Stop: %v", err)
	}
}

// rowsHaveFiles proves that the database names no file that is not there, nor
// of another size.
func rowsHaveFiles(t *testing.T, i *sandbox.Instance) {
	t.Helper()
	named := make(map[string]bool)
	for line := range strings.Lines(query(t, i, `
		SELECT file_file_name, file_file_size FROM media_attachments WHERE file_file_name IS NOT NULL
		UNION ALL SELECT avatar_file_name, avatar_file_size FROM accounts WHERE avatar_file_name IS NOT NULL
		UNION ALL SELECT header_file_name, header_file_size FROM accounts WHERE header_file_name IS NOT NULL
		UNION ALL SELECT image_file_name, image_file_size FROM preview_cards WHERE image_file_name IS NOT NULL
		UNION ALL SELECT image_file_name, image_file_size FROM custom_emojis
		UNION ALL SELECT file_file_name, file_file_size FROM site_uploads`)) {
		named[strings.TrimSpace(line)] = true
	}
	found := 0
	err := filepath.WalkDir(i.System(), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Base(filepath.Dir(path)) != "original" {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		if key := e.Name() + "|" + strconv.FormatInt(fi.Size(), 10); named[key] {
			found++
		} else {
			t.Errorf("no row names %s of %d bytes", path, fi.Size())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found != len(named) || found < 100 {
		t.Errorf("%d files for %d rows that name one", found, len(named))
	}
}

// markersAreThere finds each marker where a plaintext search would.
func markersAreThere(t *testing.T, i *sandbox.Instance) {
	t.Helper()
	m := sandbox.Markers
	for table, text := range map[string]string{"statuses": m.Status, "accounts": m.Account} {
		if n := query(t, i, "SELECT count(*) FROM "+table+" t WHERE t::text LIKE '%"+text+"%'"); n == "0\n" {
			t.Errorf("%q is not in %s", text, table)
		}
	}
	env, err := os.ReadFile(filepath.Join(i.Live, ".env.production"))
	if err != nil || !bytes.Contains(env, []byte(m.Secret)) {
		t.Errorf("%q is not in .env.production; %v", m.Secret, err)
	}
	if out := redisCLI(t, i, "LRANGE", "queue:default", "0", "-1"); !strings.Contains(out, m.Job) {
		t.Errorf("%q is not in the queue", m.Job)
	}
	files, err := filepath.Glob(filepath.Join(i.System(), "site_uploads/files/000/000/001/original", m.FileName))
	if err != nil || len(files) != 1 {
		t.Fatalf("%s: %v, %v", m.FileName, files, err)
	}
	if content, err := os.ReadFile(files[0]); err != nil || !bytes.Contains(content, []byte(m.FileContent)) {
		t.Errorf("%q is not in %s; %v", m.FileContent, files[0], err)
	}
}

func redisCLI(t *testing.T, i *sandbox.Instance, args ...string) string {
	t.Helper()
	host, port, _ := strings.Cut(i.Redis.Addr, ":")
	cmd := exec.CommandContext(t.Context(), "redis-cli", append([]string{"-h", host, "-p", port}, args...)...)
	cmd.Env = append(os.Environ(), "REDISCLI_AUTH="+i.Redis.Password)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// Same seed, same instance, same days; another seed, another one.
func TestInstanceRepeats(t *testing.T) {
	states := make([]compare.State, 3)
	for n, seed := range []uint64{1, 1, 2} {
		i := start(t, sandbox.Config{Seed: seed, Statuses: 400, Files: 60, Sidekiq: true})
		if err := i.Churn(t.Context(), 5); err != nil {
			t.Fatal(err)
		}
		states[n] = state(t, i)
		if i.Sidekiq == i.Redis {
			t.Error("Sidekiq has no Redis of its own")
		}
		i.Stop()
	}
	if err := states[0].Diff(states[1]); err != nil {
		t.Error(err)
	}
	if states[0].Diff(states[2]) == nil {
		t.Error("another seed made the same instance")
	}
}

// An interrupted start leaves nothing behind.
func TestInstanceInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if _, err := sandbox.Start(ctx, sandbox.Config{Dir: dir}); err == nil {
		t.Fatal("started in a context that was done")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
