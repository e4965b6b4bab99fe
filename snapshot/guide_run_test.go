package snapshot

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"permafrost/internal/sandbox"
)

// step returns the commands of the step of a restored guide that has this title.
func step(t *testing.T, dir, title string) string {
	t.Helper()
	guide, err := os.ReadFile(filepath.Join(dir, guideName))
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(guide), ". "+title+"\n")
	if !ok {
		t.Fatalf("no step %q in\n%s", title, guide)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	_, code := splitGuide(text)
	return strings.Join(code, "\n")
}

// The commands that RESTORE.md gives for PostgreSQL bring the database back, into the hands of a role that is no superuser.
func TestRestoreGuidePostgres(t *testing.T) {
	inst := host(t)
	inst.Media.Root = openDir(t)
	w := newWorld(t)
	res := w.create(inst, CreateOptions{})
	dir := w.restore(res, RestoreOptions{Components: []string{"postgres"}})
	sand, _ := instance()
	pg := sand.Postgres
	const restored, role = "mastodon's restored", "-restorer"
	drop := func() {
		for _, sql := range []string{`drop database if exists "` + restored + `"`, `drop role if exists "` + role + `"`} {
			if err := pg.Exec(t.Context(), "postgres", sql); err != nil {
				t.Error(err)
			}
		}
	}
	drop()
	defer drop()
	// The same guide for another role and another database.
	m := sampleManifest()
	m.Postgres = res.Manifest.Postgres
	m.Postgres.Database, m.Postgres.User = restored, role
	if err := os.Rename(filepath.Join(dir, "mastodon_production.dump"), filepath.Join(dir, dumpName(m))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, guideName), []byte(newGuideCase(m, dir).text), 0o600); err != nil {
		t.Fatal(err)
	}
	// Everybody is the sandbox's user here; the new role has its password once it is there.
	script := `set -eu
setsid() { shift; "$@"; }
runuser() { shift 2; "$@"; }
createuser() { command createuser "$@"; psql -qd postgres -c "alter role \"` + role + `\" password '$PGPASSWORD'"; }
` + step(t, dir, "PostgreSQL")
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+pg.BinDir+":"+os.Getenv("PATH"), "PGHOST="+pg.Host, fmt.Sprintf("PGPORT=%d", pg.Port), "PGUSER="+pg.User, "PGPASSWORD="+pg.Password)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	const sums = "select count(*), sum(id), md5(string_agg(text, '' order by id)) from statuses"
	want, err := pg.Query(t.Context(), sandbox.Database, sums)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := pg.Query(t.Context(), restored, sums); err != nil || got != want || want == "" {
		t.Errorf("statuses: %q, want %q: %v", got, want, err)
	}
	const owners = "select string_agg(distinct tableowner, ',') from pg_tables where schemaname = 'public'"
	if got, err := pg.Query(t.Context(), restored, owners); err != nil || strings.TrimSpace(got) != role {
		t.Errorf("the tables belong to %q: %v", got, err)
	}
	if left, _ := filepath.Glob("/var/tmp/restore.????????"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// guideHost is a directory that the user nobody owns, on which a guide's commands run as they are.
type guideHost struct {
	dir, live string // dir is root's, live is nobody's
	script    func(component string) string
}

const nobody = 65534

func newGuideHost(t *testing.T) *guideHost {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "guide")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &guideHost{dir: dir, live: filepath.Join(dir, "live")}
	restored := filepath.Join(dir, "restored")
	for path, own := range map[string]int{h.live: nobody, restored: 0, filepath.Join(restored, mediaDir): 0, filepath.Join(restored, "secrets", h.live): 0, filepath.Join(dir, "roots"): 0} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, own, own); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	m := sampleManifest()
	m.User, m.Live, m.Media.Root = "nobody", Text(h.live), Text(filepath.Join(h.live, "public/system"))
	m.Secrets.Files[0].Path, m.Secrets.Files[0].Mode = Text(filepath.Join(h.live, ".env.production")), 0o640
	m.Secrets.Files, m.Media.Excludes = m.Secrets.Files[:1], nil
	writeFiles(t, restored, file{path: envName, data: []byte("SECRET=1\n")}, file{path: guideName, data: []byte(newGuideCase(m, restored).text)})
	h.script = func(title string) string { return "cd " + restored + "\n" + step(t, restored, title) }
	return h
}

// run runs a step, which fails if anything in it does.
func (h *guideHost) run(title string) (string, error) {
	out, err := exec.Command("bash", "-euo", "pipefail", "-c", h.script(title)).CombinedOutput()
	return string(out), err
}

// Files come to their place with their modes, as Mastodon's user's own and with nothing of root's.
func TestGuideWritesAsMastodon(t *testing.T) {
	h := newGuideHost(t)
	tree := filepath.Join(h.dir, "restored", mediaDir)
	writeFiles(t, tree, file{path: "a/one", data: []byte("1")}, file{path: "a/two", link: "a/one"}, file{path: "a/private", data: []byte("p")}, file{path: "a/program", data: []byte("#!")})
	at := func(name string) string { return filepath.Join(tree, name) }
	capability := []byte{1, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}
	for _, err := range []error{os.Chmod(at("a/private"), 0o600), os.Chmod(at("a/program"), 0o4755), os.Symlink("one", at("a/link")),
		unix.Setxattr(at("a/one"), "user.note", []byte("n"), 0), unix.Setxattr(at("a/private"), "security.capability", capability, 0), unix.Setxattr(at("a/one"), "trusted.x", []byte("t"), 0)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, title := range []string{"Settings and secrets", "Media"} {
		if out, err := h.run(title); err != nil {
			t.Fatalf("%s: %v\n%s", title, err, out)
		}
	}
	for name, mode := range map[string]uint32{".env.production": 0o640, "public/system/a/one": 0o644, "public/system/a/two": 0o644, "public/system/a/private": 0o600} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(h.live, name), &st); err != nil || st.Mode&0o7777 != mode || st.Uid != nobody {
			t.Errorf("%s: mode %o of %d: %v", name, st.Mode, st.Uid, err)
		}
	}
	attrs := make([]byte, 1000)
	n, err := unix.Listxattr(filepath.Join(h.live, "public/system/a/one"), attrs)
	if err != nil || string(attrs[:n]) != "user.note\x00" {
		t.Errorf("attributes %q: %v", attrs[:n], err)
	}
	filepath.WalkDir(h.live, func(path string, _ os.DirEntry, err error) error {
		var st unix.Stat_t
		if err != nil || unix.Lstat(path, &st) != nil || st.Uid != nobody {
			t.Errorf("%s is of %d: %v", path, st.Uid, err)
		}
		if _, err := unix.Getxattr(path, "security.capability", nil); err == nil {
			t.Errorf("%s has capabilities", path)
		}
		return nil
	})
	if got, err := os.ReadFile(filepath.Join(h.live, ".env.production")); err != nil || string(got) != "SECRET=1\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// Links that Mastodon's user plants lead nowhere that is root's, and root's devices don't come to him.
func TestGuideFollowsNoLinks(t *testing.T) {
	h := newGuideHost(t)
	roots := filepath.Join(h.dir, "roots")
	writeFiles(t, roots, file{path: "file", data: []byte("root's")})
	writeFiles(t, filepath.Join(h.dir, "restored", mediaDir), file{path: "a", data: []byte("1")})
	for _, plant := range []func() error{
		func() error {
			return os.Symlink(filepath.Join(roots, "file"), filepath.Join(h.live, ".env.production"))
		},
		func() error { return os.Mkdir(filepath.Join(h.live, "public"), 0o777) },
		func() error { return os.Symlink(roots, filepath.Join(h.live, "public/system")) },
	} {
		if err := plant(); err != nil {
			t.Fatal(err)
		}
	}
	for _, title := range []string{"Settings and secrets", "Media"} {
		h.run(title) // as it may
	}
	entries, err := os.ReadDir(roots)
	if err != nil || len(entries) != 1 {
		t.Errorf("in root's directory: %v, %v", entries, err)
	}
	if got, err := os.ReadFile(filepath.Join(roots, "file")); string(got) != "root's" {
		t.Errorf("root's file: %q, %v", got, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(roots, &st); err != nil || st.Uid != 0 || st.Mode&0o777 != 0o700 {
		t.Errorf("root's directory is of %d, mode %o: %v", st.Uid, st.Mode, err)
	}

	h = newGuideHost(t)
	null := filepath.Join(h.dir, "restored", mediaDir, "null")
	if err := unix.Mknod(null, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	h.run("Media")
	if _, err := os.Lstat(filepath.Join(h.live, "public/system/null")); err == nil {
		t.Error("a device was made")
	}
}

// A process of Mastodon's user that a guide's command starts can't type into root's terminal.
func TestGuideLeavesTheTerminal(t *testing.T) {
	line := string(asUser("nobody", "sh", "-c", "exec 3</dev/tty"))
	out, err := exec.Command("script", "-qec", line, "/dev/null").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "/dev/tty") {
		t.Errorf("the terminal can be opened: %v\n%s", err, out)
	}
	if !slices.Contains(strings.Fields(line), "setsid") {
		t.Error(line)
	}
}
