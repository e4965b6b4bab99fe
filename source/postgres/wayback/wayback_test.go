package wayback

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"permafrost/internal/sandbox"
	"permafrost/source"
	"permafrost/source/postgres"
	"permafrost/source/postgres/archive"
	"permafrost/source/way"
)

// cluster is the PostgreSQL that databases are dumped from, in all tests here. It has a database model, which looks a little like Mastodon's.
var cluster *sandbox.Postgres

func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(m.Run()) // which needs no server, and would start one for each of its processes
	}
	dir, err := os.MkdirTemp("", "wayback")
	if err == nil {
		err = startCluster(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	for _, f := range atExit {
		f()
	}
	cluster.Stop()
	os.RemoveAll(dir)
	os.Exit(code)
}

func startCluster(dir string) (err error) {
	model, err := os.ReadFile("../testdata/model.sql")
	if err != nil {
		return err
	}
	ctx := context.Background()
	if cluster, err = sandbox.StartPostgres(ctx, dir); err != nil {
		return err
	}
	if err := cluster.Exec(ctx, "postgres", "create database model"); err != nil {
		return err
	}
	return cluster.Exec(ctx, "model", string(model))
}

// rows of the table statuses in model.
const rows = 5000

func sql(t testing.TB, db, text string) {
	t.Helper()
	if err := cluster.Exec(context.Background(), db, text); err != nil {
		t.Fatal(err)
	}
}

// A newHost is where databases come back to: a cluster that is no instance's yet. As on Debian its superuser is postgres, whom peer
// authentication lets in, and passwords are asked for over TCP.
type newHost struct {
	*sandbox.Postgres
	permafrost string // the program
}

// The new hosts of all tests: one where steps are a superuser's, and one where there is none to be had.
var (
	theHost  = sync.OnceValues(startHost)
	poorHost = sync.OnceValues(startHost)
)

// atExit is done when all tests are.
var atExit []func()

// permafrost builds the program.
var permafrost = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "permafrost")
	if err != nil {
		return "", err
	}
	atExit = append(atExit, func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "permafrost")
	if out, err := exec.Command("go", "build", "-o", program, "permafrost/cmd/permafrost").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return program, nil
})

func startHost() (*newHost, error) {
	program, err := permafrost()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "newhost")
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	c, err := sandbox.StartPostgres(ctx, dir)
	if err != nil {
		return nil, err
	}
	atExit = append(atExit, func() {
		c.Stop()
		os.RemoveAll(dir)
	})
	h := &newHost{Postgres: c, permafrost: program}
	data := filepath.Join(dir, "postgres", "data")
	hba := "local all postgres peer map=admin\nlocal all all peer map=people\nhost all all 127.0.0.1/32 scram-sha-256\n"
	ident := "admin " + c.OSUser + " postgres\npeople nobody peer\n"
	for name, text := range map[string]string{"pg_hba.conf": hba, "pg_ident.conf": ident} {
		if err := os.WriteFile(filepath.Join(data, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return h, c.Exec(ctx, "postgres", "create role postgres superuser login; select pg_reload_conf()")
}

func host(t testing.TB) *newHost { return started(t, theHost) }

func started(t testing.TB, start func() (*newHost, error)) *newHost {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test becomes another user: it wants root")
	}
	h, err := start()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// captured takes a snapshot of a database of the package's cluster, as a superuser. The role is Mastodon's.
func captured(t testing.TB, db, role string) (Saved, []byte) {
	t.Helper()
	var dump bytes.Buffer
	s := captureTo(t, db, role, &dump)
	s.TOC = tocOf(t, bytes.NewReader(dump.Bytes()))
	return s, dump.Bytes()
}

// captures counts them: no two restores may have one ID.
var captures atomic.Int32

// captureTo is captured for a dump that is written elsewhere.
func captureTo(t testing.TB, db, role string, dump io.Writer) Saved {
	t.Helper()
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%v (%v)", err, source.CauseOf(err))
		}
	}
	s, err := postgres.Connect(ctx, source.Database{Host: cluster.Host, Port: cluster.Port, Name: db, User: cluster.User, Password: cluster.Password, SSLMode: "prefer"}, postgres.Options{})
	must(err)
	defer s.Close()
	snap, err := s.Export(ctx)
	must(err)
	defer snap.Close()
	d, err := snap.Dump(ctx)
	must(err)
	defer d.Close()
	_, err = io.Copy(dump, d)
	must(err)
	f := s.Facts()
	// The superuser that took it is nothing of the database's.
	f.Roles = slices.DeleteFunc(f.Roles, func(r postgres.Role) bool { return r.Name == cluster.User })
	return Saved{ID: fmt.Sprint("k7q", captures.Add(1)), Time: time.Date(2026, 6, 27, 3, 4, 0, 0, time.UTC), Database: db, User: role, Facts: f, Dump: d.Facts(),
		DumpFile: "the dump.dump", OSUser: "nobody"}
}

func tocOf(t testing.TB, dump io.Reader) []byte {
	t.Helper()
	toc, err := archive.TOC(dump)
	if err != nil {
		t.Fatal(err)
	}
	return toc
}

// A wayBack is a database on its way back to a new host, below a directory that only root can read.
type wayBack struct {
	t      testing.TB
	h      *newHost
	saved  Saved
	source string // the database that it was dumped from
	part   way.Part
	here   string
	dump   string            // the file
	data   []byte            // what is in it
	out    map[string]string // what each step said

	env         []string // of the steps, besides what they have
	dumpOptions []string // of pg_dump, where both databases are compared
}

const rolePassword = `pa:ss 'w\ord"$x`

// newWayBack lays out what a restore lays out.
func newWayBack(t testing.TB, h *newHost, s Saved, dump []byte, change map[string]string) *wayBack {
	t.Helper()
	w := &wayBack{t: t, h: h, saved: s, source: s.Database, here: filepath.Join(t.TempDir(), "it's here"), out: make(map[string]string), dumpOptions: []string{"--create"}}
	w.dump, w.data = filepath.Join(w.here, s.DumpFile), dump
	w.saved.EnvFile = filepath.Join(w.here, "env.production")
	var err error
	if w.part, err = Of(w.saved); err != nil {
		t.Fatal(err)
	}
	w.set(map[string]string{"pg_port": strconv.Itoa(w.h.Port), "pg_admin_host": w.h.SocketDir, "pg_admin_user": w.h.OSUser})
	w.set(change)
	w.must(os.MkdirAll(filepath.Join(w.here, "plan"), 0o700))
	w.must(os.WriteFile(w.dump, dump, 0o600))
	w.must(os.WriteFile(w.saved.EnvFile, []byte("DB_USER=x\nDB_PASS=\""+strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`).Replace(rolePassword)+"\"\n"), 0o600))
	for _, f := range w.part.Files {
		w.must(os.WriteFile(filepath.Join(w.here, "plan", f.Name), f.Data, 0o600))
	}
	w.writeHost(w.h.permafrost)
	return w
}

func (w *wayBack) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// set changes variables as an administrator does.
func (w *wayBack) set(change map[string]string) {
	for i := range w.part.Vars {
		if v, ok := change[w.part.Vars[i].Name]; ok {
			w.part.Vars[i].Values = []string{v}
		}
	}
}

// value returns that of a variable.
func (w *wayBack) value(name string) string {
	for _, v := range w.part.Vars {
		if v.Name == name {
			return v.Values[0]
		}
	}
	w.t.Fatalf("there is no variable %s", name)
	return ""
}

func (w *wayBack) writeHost(permafrost string) {
	w.must(os.WriteFile(w.host(), []byte(way.Host(w.here, permafrost, []way.Part{w.part})), 0o600))
}

func (w *wayBack) host() string { return filepath.Join(w.here, "host.sh") }

// command returns bash for a step, as RESTORE.md has it.
func (w *wayBack) command(name string) *exec.Cmd {
	w.t.Helper()
	i := slices.IndexFunc(w.part.Steps, func(s way.Step) bool { return s.Name == name })
	if i < 0 {
		w.t.Fatalf("there is no step %s", name)
	}
	cmd := exec.Command("bash")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/root", "PGDATABASE=nowhere", "PGOPTIONS=-c nonsense=1", "LANG=C.UTF-8"}
	cmd.Env = append(cmd.Env, w.env...)
	cmd.Stdin = strings.NewReader(way.Block(w.host(), strconv.Itoa(i+1), &w.part.Steps[i]))
	return cmd
}

// step runs one step.
func (w *wayBack) step(name string) error {
	w.t.Helper()
	out, err := w.command(name).CombinedOutput()
	w.out[name] = string(out)
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// run runs all steps, or those from the first one named on.
func (w *wayBack) run() {
	w.t.Helper()
	if keep := os.Getenv("KEEP"); keep != "" {
		defer func() { exec.Command("cp", "-a", w.here, keep).Run() }()
	}
	for _, s := range w.part.Steps {
		begin := time.Now()
		if err := w.step(s.Name); err != nil {
			w.t.Fatal(err)
		}
		w.t.Logf("%v %s", time.Since(begin).Round(time.Millisecond), w.out[s.Name])
	}
	if w.data != nil {
		w.isTakenBack()
	}
}

// isTakenBack fails the test unless the dump is what it was, and is its owner's alone.
func (w *wayBack) isTakenBack() {
	w.t.Helper()
	data, err := os.ReadFile(w.dump)
	w.must(err)
	info, err := os.Stat(w.dump)
	w.must(err)
	if st := info.Sys().(*syscall.Stat_t); !bytes.Equal(data, w.data) || info.Mode().Perm() != 0o600 || st.Gid != uint32(os.Getgid()) {
		w.t.Errorf("the dump is left in mode %o of group %d, and is what it was: %v", info.Mode().Perm(), st.Gid, bytes.Equal(data, w.data))
	}
}

// says fails the test unless a step said all of some texts.
func (w *wayBack) says(step string, texts ...string) {
	w.t.Helper()
	for _, text := range texts {
		if !strings.Contains(w.out[step], text) {
			w.t.Errorf("%s does not say %q, but\n%s", step, text, w.out[step])
		}
	}
}

// plan returns what a file of the directory plan holds.
func (w *wayBack) plan(name string) string {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.here, "plan", name))
	w.must(err)
	return string(data)
}

// whole returns all that a database is, as text.
func whole(t testing.TB, c *sandbox.Postgres, db string, options ...string) string {
	t.Helper()
	out, err := c.Command(context.Background(), "pg_dump", append(options, "--no-tablespaces", "--dbname="+conninfoOf(db))...).Output()
	if err != nil {
		t.Fatalf("pg_dump: %v", err)
	}
	return noise.ReplaceAllString(string(out), "")
}

// noise is what differs between dumps of the same: keys that pg_dump makes up, and a setting that stands wherever the first table does.
var noise = regexp.MustCompile(`(?m)^(\\(un)?restrict .*|SET default_table_access_method = heap;\n)\n`)

func conninfoOf(db string) string {
	return "dbname='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(db) + "'"
}

// compare fails the test where the restored database is another one than the dumped. An edit says how it is to differ.
func (w *wayBack) compare(edits ...func(dump string) string) {
	w.t.Helper()
	want, got := whole(w.t, cluster, w.source, w.dumpOptions...), whole(w.t, w.h.Postgres, w.saved.Database, w.dumpOptions...)
	for i, edit := range edits {
		edited := edit(want)
		if edited == want {
			w.t.Errorf("edit %d changes nothing", i)
		}
		want = edited
	}
	if want != got {
		w.t.Errorf("the restored database differs:\n%s", difference(w.t, want, got))
	}
}

// without returns an edit that takes out the objects whose headings in a dump hold one of some texts, such as
// "Name: index_on_users;".
func without(headings ...string) func(string) string {
	return func(dump string) string {
		for _, h := range headings {
			dump = withoutBlocks(dump, h)
		}
		return dump
	}
}

// withoutLine returns an edit that takes out each line with a text.
func withoutLine(text string) func(string) string {
	return func(dump string) string {
		return regexp.MustCompile(`(?m)^.*`+regexp.QuoteMeta(text)+`.*\n`).ReplaceAllString(dump, "")
	}
}

// replaced returns an edit that replaces a text.
func replaced(old, by string) func(string) string {
	return func(dump string) string { return strings.ReplaceAll(dump, old, by) }
}

// withoutBlocks takes the blocks out of a dump whose headings hold a text.
func withoutBlocks(dump, heading string) string {
	blocks := strings.Split(dump, "\n--\n-- ")
	return strings.Join(slices.DeleteFunc(blocks, func(b string) bool {
		first, _, _ := strings.Cut(b, "\n")
		return strings.Contains(first, heading)
	}), "\n--\n-- ")
}

// difference returns what diff says, bounded.
func difference(t testing.TB, want, got string) string {
	dir := t.TempDir()
	for name, text := range map[string]string{"want": want, "got": got} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, _ := exec.Command("diff", "-U2", filepath.Join(dir, "want"), filepath.Join(dir, "got")).Output()
	return string(out[:min(len(out), 6000)])
}

// login fails the test unless Mastodon's role gets in with its password and reads a table.
func (w *wayBack) login(query, want string) {
	w.t.Helper()
	cmd := w.h.Command(context.Background(), "psql", "-X", "-w", "-U", w.saved.User, "-d", conninfoOf(w.saved.Database), "-Atc", query)
	cmd.Env = append(cmd.Env, "PGPASSWORD="+rolePassword)
	if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != want {
		w.t.Errorf("as %s: %q, %v, want %q", w.saved.User, out, err, want)
	}
}

// A database of an instance comes back to a host that knows nothing of it.
func TestWayBack(t *testing.T) {
	t.Parallel()
	sql(t, "postgres", "create role ordinary login; create database ordinary template model owner ordinary")
	sql(t, "ordinary", `do $$ declare t record; begin for t in select format('alter table %I.%I owner to ordinary', schemaname, tablename) as s from pg_tables where schemaname not like 'pg_%' and schemaname <> 'information_schema' loop execute t.s; end loop; end $$`)
	s, dump := captured(t, "ordinary", "ordinary")
	s.Facts.Login = "scram-sha-256"
	w := newWayBack(t, host(t), s, dump, map[string]string{"pg_jobs": "3"})
	w.must(w.step("postgres-roles"))
	w.killWhileLent()
	w.run()
	if log := w.plan("pg-data.log"); !strings.Contains(log, "launching item") {
		t.Errorf("one job read the data: %s", log)
	}
	w.compare()
	w.login("select count(*) from statuses", strconv.Itoa(rows))
}

// killWhileLent kills the step that brings the data back while several jobs read the dump: as another user, who may open it then.
func (w *wayBack) killWhileLent() {
	w.t.Helper()
	cmd := w.command("postgres-data")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	w.must(cmd.Start())
	for began, lent := time.Now(), false; !lent; time.Sleep(time.Millisecond) {
		info, err := os.Stat(w.dump)
		w.must(err)
		data, err := os.ReadFile(w.dump)
		w.must(err)
		lent = info.Mode().Perm() == 0o640 && !bytes.Equal(data, w.data)
		if !lent && time.Since(began) > time.Minute {
			w.t.Fatal("the dump is not lent, or does not say where its data are")
		}
	}
	w.must(syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL))
	cmd.Wait()
}
