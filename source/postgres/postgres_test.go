package postgres

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"permafrost/internal/sandbox"
	"permafrost/source"
	"permafrost/source/postgres/archive"
	"permafrost/source/postgres/quote"
)

// cluster is the PostgreSQL of all tests here.
var cluster *sandbox.Postgres

func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(m.Run()) // which needs no server, and would start one for each of its processes
	}
	dir, err := os.MkdirTemp("", "postgres")
	if err == nil {
		cluster, err = sandbox.StartPostgres(context.Background(), dir)
	}
	if err == nil {
		err = makeModel()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	cluster.Stop()
	os.RemoveAll(dir)
	os.Exit(code)
}

// makeModel makes the database model, which looks a little like Mastodon's.
func makeModel() error {
	model, err := os.ReadFile("testdata/model.sql")
	if err != nil {
		return err
	}
	if err := cluster.Exec(context.Background(), "postgres", "create database model"); err != nil {
		return err
	}
	return cluster.Exec(context.Background(), "model", string(model))
}

// rows of the table statuses in model.
const rows = 5000

// newDatabase makes a copy of model, named after the test. It goes with the cluster.
func newDatabase(t testing.TB) source.Database {
	t.Helper()
	name := strings.ToLower(regexp.MustCompile(`\W`).ReplaceAllString(t.Name(), "_"))
	sql(t, "postgres", "create database "+name+" template model")
	return source.Database{Host: cluster.Host, Port: cluster.Port, Name: name, User: cluster.User, Password: cluster.Password, SSLMode: "prefer"}
}

func sql(t testing.TB, db, text string) {
	t.Helper()
	if err := cluster.Exec(context.Background(), db, text); err != nil {
		t.Fatal(err)
	}
}

func connect(t testing.TB, db source.Database, o Options) *Server {
	t.Helper()
	s, err := Connect(context.Background(), db, o)
	if err != nil {
		t.Fatalf("%v (%v)", err, source.CauseOf(err))
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func export(t testing.TB, s *Server) *Snapshot {
	t.Helper()
	snap, err := s.Export(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { snap.Close() })
	return snap
}

func startDump(t testing.TB, snap *Snapshot) *Dump {
	t.Helper()
	d, err := snap.Dump(context.Background())
	if err != nil {
		t.Fatalf("%v (%v)", err, source.CauseOf(err))
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// tool runs a program of the cluster's version on input.
func tool(t testing.TB, input io.Reader, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(cluster.BinDir, name), args...)
	cmd.Stdin = input
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, &stderr)
	}
	return string(out)
}

// query returns the one value that a query yields.
func query(t testing.TB, db, text string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(cluster.BinDir, "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", text, cluster.URL(db))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestFacts(t *testing.T) {
	db := newDatabase(t)
	sql(t, db.Name, "create table fresh as select generate_series(1, 42) i") // never analyzed
	for deadline := time.Now().Add(time.Minute); query(t, db.Name, "select pg_stat_get_live_tuples('fresh'::regclass)") != "42"; {
		if time.Now().After(deadline) {
			t.Fatal("the session that made the table does not say how many rows it has")
		}
		time.Sleep(10 * time.Millisecond)
	}
	before := query(t, db.Name, "select pg_current_wal_lsn()")
	f := connect(t, db, Options{}).Facts()
	if f.Version != query(t, db.Name, "show server_version") || fmt.Sprint(f.VersionNum) != query(t, db.Name, "show server_version_num") {
		t.Errorf("version %q, %d", f.Version, f.VersionNum)
	}
	if f.Database != db.Name || f.Encoding != "UTF8" || f.Collate != "C.UTF-8" || f.CType != "C.UTF-8" || f.Provider != "libc" {
		t.Errorf("got %+v", f)
	}
	if f.Size < 1<<20 || f.LSN < before || f.InRecovery || f.SchemaMigration != "20240611000000" {
		t.Errorf("got %+v", f)
	}
	if f.Extensions["pg_trgm"] == "" || f.Extensions["plpgsql"] == "" || len(f.Extensions) != 2 {
		t.Errorf("extensions %v", f.Extensions)
	}
	if f.Rows["public.statuses"] != rows || f.Rows["public.fresh"] != 42 || f.Rows["public.counts"] != 1 || len(f.Rows) != 5 {
		t.Errorf("rows %v", f.Rows)
	}
}

// The dump shows the state of Export, whatever happens until Dump, and it restores.
func TestDumpIsConsistent(t *testing.T) {
	db := newDatabase(t)
	const sum = "select md5(string_agg(s::text, '' order by id)) || (select count(*) from accounts) from statuses s"
	want := query(t, db.Name, sum)
	var said bytes.Buffer
	snap := export(t, connect(t, db, Options{Stderr: &said}))
	sql(t, db.Name, "update statuses set text = 'changed' where id % 3 = 0; delete from statuses where id % 7 = 0; insert into accounts (username) values ('late')")
	if age := time.Since(snap.Time); age < 0 || age > time.Minute || snap.LSN == "" {
		t.Errorf("snapshot of %v, LSN %q", snap.Time, snap.LSN)
	}
	d := startDump(t, snap)
	data, err := io.ReadAll(d)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := d.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("another Read: %d, %v", n, err)
	}
	if said.Len() != 0 {
		t.Errorf("said: %s", &said)
	}
	checkFacts(t, d.Facts(), data)

	copied := db.Name + "_copy"
	sql(t, "postgres", "create database "+copied+" template template0")
	tool(t, bytes.NewReader(data), "pg_restore", "--exit-on-error", "--no-owner", "-d", cluster.URL(copied))
	if got := query(t, copied, sum); got != want {
		t.Errorf("restored %s, want %s", got, want)
	}
}

// field returns what the head of `pg_restore --list` says about name.
func field(t *testing.T, list, name string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^; *` + name + `: (.*)$`).FindStringSubmatch(list)
	if m == nil {
		t.Fatalf("no %s in %s", name, list)
	}
	return m[1]
}

// checkFacts compares what was read of the table of contents with what pg_restore reads.
func checkFacts(t *testing.T, f DumpFacts, data []byte) {
	t.Helper()
	list := tool(t, bytes.NewReader(data), "pg_restore", "--list")
	if got := strconv.Itoa(f.Entries); got != field(t, list, "TOC Entries") {
		t.Errorf("%s entries, want %s", got, field(t, list, "TOC Entries"))
	}
	if !strings.HasPrefix(f.ArchiveVersion, field(t, list, "Dump Version")[:4]) ||
		f.ServerVersion != field(t, list, "Dumped from database version") || f.DumpVersion != field(t, list, "Dumped by pg_dump version") {
		t.Errorf("versions %+v in %s", f, list)
	}
	for _, kind := range []string{"TABLE", "TABLE DATA", "SEQUENCE SET", "INDEX", "FK CONSTRAINT", "TRIGGER"} {
		if listed := strings.Count(list, " "+kind+" public "); f.Kinds[kind] != listed {
			t.Errorf("%d of %s, listed %d", f.Kinds[kind], kind, listed)
		}
	}
	if f.Kinds["TABLE"] != 3 || f.Kinds["TABLE DATA"] != 3 || f.Kinds["FK CONSTRAINT"] != 1 || f.Kinds["MATERIALIZED VIEW"] != 1 {
		t.Errorf("kinds %v", f.Kinds)
	}
	if f.Bytes != int64(len(data)) || f.Note != "" {
		t.Errorf("facts %+v of %d bytes", f, len(data))
	}
}

// Databases of unusual content dump whole, and pg_restore takes each to its last byte.
func TestDumpOddDatabases(t *testing.T) {
	db := source.Database{Host: cluster.Host, Port: cluster.Port, User: cluster.User, Password: cluster.Password, SSLMode: "prefer"}
	for name, content := range map[string]string{
		"empty":         "select 1",
		"no rows":       "create table t (i int)",
		"large objects": "select lo_from_bytea(0, convert_to(repeat('x', 100000), 'UTF8')) from generate_series(1, 50)",
		"last is empty": "create table a as select generate_series(1, 1000) i; create table z (i int)",
		"partitions":    "create table p (i int) partition by range (i); create table p1 partition of p for values from (0) to (9); insert into p values (1)",
		"odd names":     `create schema "A b"; create table "A b"."t'"" %s\" (i int); insert into "A b"."t'"" %s\" values (1)`,
		"lines":         `create table t (a text, b text); insert into t values (E'a\nb\r\n\\.\n\n\n', null), ('', E'\\n\t'), (E'\\.', repeat(E'\n', 100000))`,
		"no columns":    "create table t (); insert into t select from generate_series(1, 77)",
		"one of each":   "create table t (i int); insert into t values (1); create materialized view v as select 1; create table x as select lo_create(0) o; create unlogged table u as select 1 i",
		"long function": "do $do$ begin execute 'create function long() returns text language sql as $$ select ''' || repeat('é', 300000) || ''' $$'; end $do$",
	} {
		t.Run(name, func(t *testing.T) {
			odd := "odd_" + strings.ReplaceAll(name, " ", "_")
			sql(t, "postgres", "create database "+odd)
			sql(t, odd, content)
			db.Name = odd
			s := connect(t, db, Options{})
			for range 2 { // the end of a small dump is a race between it and pg_restore
				d := startDump(t, export(t, s))
				data, err := io.ReadAll(d)
				if err != nil {
					t.Fatal(err)
				}
				list := tool(t, bytes.NewReader(data), "pg_restore", "--list")
				if got := strconv.Itoa(d.Facts().Entries); got != field(t, list, "TOC Entries") {
					t.Errorf("%s entries, want %s", got, field(t, list, "TOC Entries"))
				}
				checkCounts(t, odd, d.Facts(), data)
			}
		})
	}
}

// checkCounts compares what was counted of each table with what the database and its dump hold.
func checkCounts(t *testing.T, db string, f DumpFacts, data []byte) {
	t.Helper()
	const tables = `select n.nspname || E'\x1f' || relname || '|' || (xpath('/row/c/text()', query_to_xml(format('select count(*) c from %I.%I', n.nspname, relname), false, true, '')))[1]
		from pg_class c join pg_namespace n on n.oid = relnamespace where relkind = 'r' and nspname !~ '^pg_' and nspname <> 'information_schema'`
	want := make(map[string]int64)
	for line := range strings.Lines(query(t, db, tables)) {
		i := strings.LastIndexByte(line, '|')
		n, err := strconv.ParseInt(strings.TrimSpace(line[i+1:]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		schema, table, _ := strings.Cut(line[:i], "\x1f")
		want[quote.TableName(schema, table)] = n
	}
	got := make(map[string]int64)
	for name, table := range f.Tables {
		got[name] = table.Rows
	}
	if !maps.Equal(got, want) || f.Tables == nil || f.Uncounted != "" {
		t.Errorf("counted %v, want %v: %s", got, want, f.Uncounted)
	}
	if n := query(t, db, "select coalesce(sum(length(data)), 0) from pg_largeobject"); strconv.FormatInt(f.LargeObjects, 10) != n {
		t.Errorf("%d bytes of large objects, want %s", f.LargeObjects, n)
	}
	checkOffsets(t, db, f, data)
	// The same, in whatever pieces the dump comes.
	for _, size := range []int{1, 3, 1000} {
		c, at := counter(t, data)
		for part := range slices.Chunk(data[at:], size) {
			c.Count(part)
		}
		if tables, objects, err := c.Counted(); err != nil || !maps.Equal(tables, f.Tables) || objects != f.LargeObjects {
			t.Errorf("in pieces of %d: %v, %d, %v", size, tables, objects, err)
		}
	}
}

// counter returns a counter of a dump's data, and where they begin.
func counter(t testing.TB, data []byte) (*archive.Counter, int) {
	t.Helper()
	in := bytes.NewReader(data)
	r := bufio.NewReader(in)
	a, err := archive.Read(r)
	if err != nil {
		t.Fatal(err)
	}
	at := len(data) - in.Len() - r.Buffered()
	c, err := a.Counter(int64(at))
	if err != nil {
		t.Fatal(err)
	}
	return c, at
}

// checkOffsets compares what is noted of where each table's data are with what pg_dump itself writes to a file.
func checkOffsets(t *testing.T, db string, f DumpFacts, data []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "dump")
	if out, err := cluster.Command(t.Context(), "pg_dump", "--format=custom", "--compress=0", "--file="+file, cluster.URL(db)).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, at := counter(t, data)
	toc, ok := archive.WithOffsets(data[:at], f.Tables)
	if !ok || len(whole) != len(data) {
		t.Fatalf("not all offsets are known, or the file has %d bytes and not %d", len(whole), len(data))
	}
	// An offset that the dump does not know is a 1 and zeros, and one that is known a 2 and the offset.
	n, size := 0, 1+int(data[9])
	for i := 0; i < at; i++ {
		if toc[i] == data[i] {
			continue
		}
		n++
		if got, want := toc[i:i+size], whole[i:i+size]; data[i] != 1 || got[0] != 2 || !bytes.Equal(got, want) {
			t.Errorf("%d: the data are at %x, pg_dump says %x", i, got, want)
		}
		i += size - 1
	}
	if n != len(f.Tables) {
		t.Errorf("%d tables of %d", n, len(f.Tables))
	}
}

// BenchmarkDump measures the whole way: pg_dump, the copy through this process, and the proof.
func BenchmarkDump(b *testing.B) {
	db := newDatabase(b)
	fill(b, db.Name, 256)
	snap := export(b, connect(b, db, Options{}))
	buf := make([]byte, 1<<20)
	for b.Loop() {
		d := startDump(b, snap)
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, d, buf)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(n)
	}
}

// BenchmarkCount measures what the counting of rows costs, apart from all else.
func BenchmarkCount(b *testing.B) {
	db := newDatabase(b)
	fill(b, db.Name, 64)
	data, err := io.ReadAll(startDump(b, export(b, connect(b, db, Options{}))))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		c, at := counter(b, data)
		for part := range slices.Chunk(data[at:], blockLen) {
			c.Count(part)
		}
		if _, _, err := c.Counted(); err != nil {
			b.Fatal(err)
		}
	}
}

// blockLen is how much a snapshot reads of a dump at once.
const blockLen = 256 << 10
