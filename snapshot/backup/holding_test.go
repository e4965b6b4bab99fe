package backup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"permafrost/internal/sandbox"
	"permafrost/internal/snaptest"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/ledger"
	"permafrost/snapshot"
	"permafrost/snapshot/restore"
	"permafrost/source"
	"permafrost/source/postgres"
)

// broken makes one component of an instance fail, by the name of the part that then fails.
func broken(name string, inst *source.Instance, o *Options) {
	switch name {
	case "secrets":
		o.Secrets = []string{"/nowhere"}
	case "postgres":
		inst.Database.Name = "no_such_database"
	case "redis":
		inst.Redis.Addr = "127.0.0.1:1"
	case "sidekiq":
		inst.Sidekiq.Addr = "127.0.0.1:1"
	case "media":
		inst.Media.Root = "/nowhere"
	}
}

var partNames = []string{"secrets", "postgres", "redis", "sidekiq", "media"}

// Where one component fails the others are stored and come back, and everything that reads the snapshot says what is missing.
func TestCreateKeepsWhatCanBeRead(t *testing.T) {
	w := newWorld(t)
	inst := host(t)
	inst.Media.Root = snaptest.OpenDir(t)
	snaptest.WriteFiles(t, inst.Media.Root, snaptest.File{Path: "a/b", Data: []byte("x")})
	root := inst.Media.Root
	w.create(inst, Options{Date: "2026-06-01"})
	for _, name := range partNames {
		t.Run(name, func(t *testing.T) {
			inst := host(t)
			inst.Media.Root = root
			var warned []string
			o := Options{Warn: func(err error) { warned = append(warned, err.Error()) }}
			broken(name, inst, &o)
			res := w.create(inst, o)
			if len(res.Failures) != 1 || res.Failures[0].Part != name || res.Failures[0].Err == nil {
				t.Fatalf("failures: %+v", res.Failures)
			}
			state, says := snapshot.Failed, name+" failed: "
			if name == "secrets" {
				state, says = snapshot.Incomplete, "secrets are incomplete: "
			}
			if !slices.ContainsFunc(warned, func(s string) bool { return strings.HasPrefix(s, says) }) {
				t.Errorf("warned: %q", warned)
			}
			h := res.Ref.Holding
			want := map[string]snapshot.State{"secrets": h.Secrets, "postgres": h.Postgres.State, "redis": h.Redis, "sidekiq": h.Redis, "media": h.Media.State}
			if want[name] != state || h.Whole() {
				t.Errorf("the log says %+v", h)
			}
			w.Verify(res.Ref, snapshot.NewInspector)
			checkAbsent(t, w, res, name, state)
			checkSecondNight(t, w, root, name)
		})
	}
}

// checkAbsent checks what is said of a snapshot without one part, and that all else comes back.
func checkAbsent(t *testing.T, w *world, res *Result, name string, state snapshot.State) {
	t.Helper()
	absent := res.Manifest.Absent()
	if len(absent) != 1 || absent[0].Part != name || absent[0].State != state || absent[0].Reason == "" {
		t.Fatalf("absent: %+v", absent)
	}
	var out bytes.Buffer
	err := snapshot.Dump(t.Context(), w.Open(w.Owner), res.Manifest, strings.Replace(name, "media", "media/a/b", 1), &out)
	if name == "secrets" { // the settings are there
		if err != nil || !bytes.Equal(out.Bytes(), host(t).Env) {
			t.Errorf("dump of secrets: %d bytes, %v", out.Len(), err)
		}
	} else if err == nil || out.Len() > 0 || !strings.Contains(err.Error(), absent[0].Reason) || source.CauseOf(err).Cause != snapshot.CauseElsewhere && source.CauseOf(err).Cause != snapshot.CauseNowhere {
		t.Errorf("dump of %s: %d bytes, %v, cause %q", name, out.Len(), err, source.CauseOf(err))
	}
	var warned []error
	dir := filepath.Join(t.TempDir(), "restored")
	got, err := restore.Restore(t.Context(), w.Open(w.Owner), res.Ref, restore.Options{Target: dir, Warn: func(err error) { warned = append(warned, err) }})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Absent) != 1 || got.Absent[0].Part != name || len(warned) == 0 || source.CauseOf(warned[0]).Cause != restore.CauseElsewhere {
		t.Errorf("restore: %+v, warned %q", got.Absent, warned)
	}
	files := map[string]string{"secrets": "secrets/nowhere", "postgres": "mastodon_production.dump", "redis": "redis-dump.rdb", "sidekiq": "sidekiq-redis-dump.rdb", "media": restoredMedia}
	for part, file := range files {
		_, err := os.Stat(filepath.Join(dir, file))
		if there := err == nil; there != (part != name && part != "secrets") {
			t.Errorf("%s: there %v", file, there)
		}
	}
	if name == "postgres" || name == "media" {
		if _, err := restore.Restore(t.Context(), w.Open(w.Owner), res.Ref, restore.Options{Target: filepath.Join(dir, "x"), Components: []string{name}}); source.CauseOf(err).Cause != snapshot.CauseElsewhere {
			t.Errorf("restore of %s alone: %v", name, err)
		}
	}
}

// checkSecondNight checks that the night after one that lacks a part goes by the last one that has it.
func checkSecondNight(t *testing.T, w *world, root, name string) {
	t.Helper()
	r := w.Open(w.Writer)
	c := &creation{repo: r, inst: host(t)}
	c.Warn = func(err error) { t.Error(err) }
	for _, stream := range []string{"postgres", "redis", "sidekiq"} {
		id := c.previousID(t.Context(), stream)
		i := slices.IndexFunc(r.Snapshots(), func(ref ledger.SnapshotRef) bool { return ref.ID == id })
		if i < 0 {
			t.Fatalf("%s: nothing to go by", stream)
		}
		if newest := i == len(r.Snapshots())-1; newest == (stream == name) {
			t.Errorf("%s: the newest snapshot is gone by: %v", stream, newest)
		}
	}
	m := c.previous(t.Context())
	if m == nil || m.Media.State != snapshot.Captured || m.Postgres.State == snapshot.Failed != (name == "postgres") {
		t.Errorf("media go by %+v", m)
	}
}

// What a setting leaves out is no failure, is not read, and is said to be left out.
func TestCreateSkips(t *testing.T) {
	w := newWorld(t)
	inst := host(t)
	inst.Media.Root = snaptest.OpenDir(t)
	broken("redis", inst, nil)
	broken("sidekiq", inst, nil)
	res := w.create(inst, Options{Skip: []string{"redis", "secrets"}})
	if h := res.Ref.Holding; len(res.Failures) > 0 || h.Redis != snapshot.Skipped || h.Secrets != snapshot.Skipped || !h.Whole() {
		t.Errorf("%+v, failures %v", h, res.Failures)
	}
	w.Verify(res.Ref, snapshot.NewInspector)
	for _, part := range []string{"redis", "sidekiq", "secrets"} {
		if err := snapshot.Dump(t.Context(), w.Open(w.Owner), res.Manifest, part, io.Discard); err == nil || !strings.Contains(err.Error(), "skipped by a setting") {
			t.Errorf("dump of %s: %v", part, err)
		}
	}
	w.restore(res, restore.Options{})
	for name, o := range map[string]Options{
		"unknown": {Skip: []string{"postgers"}},
		"all":     {Skip: []string{"postgres", "media"}},
	} {
		if _, err := Create(t.Context(), w.Open(w.Writer), inst, o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	inst.Media.External = &source.External{Kind: "s3", Bucket: "b"}
	if _, err := Create(t.Context(), w.Open(w.Writer), inst, Options{Skip: []string{"postgres"}}); err == nil {
		t.Error("a snapshot of secrets and Redis alone")
	}
}

// Nothing is committed without the database and the media, nor where all four were asked for, nor where the run was ended.
func TestCreateCommitsNothing(t *testing.T) {
	type try struct {
		broken []string
		o      Options
		cancel bool
	}
	tries := map[string]try{
		"both":      {broken: []string{"postgres", "media"}},
		"cancelled": {broken: []string{"redis"}, cancel: true},
	}
	for _, name := range partNames {
		tries["strict "+name] = try{broken: []string{name}, o: Options{Strict: true}}
	}
	for name, x := range tries {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			inst := host(t)
			for _, b := range x.broken {
				broken(b, inst, &x.o)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if x.cancel {
				x.o.Progress = &canceller{cancel: cancel}
			}
			res, err := Create(ctx, w.Open(w.Writer), inst, x.o)
			if err == nil || res != nil {
				t.Fatal("no error")
			}
			for _, b := range x.broken {
				if !x.cancel && !strings.Contains(err.Error(), b) {
					t.Errorf("the error does not name %s: %v", b, err)
				}
			}
			if n := len(w.Open(w.Writer).Snapshots()); n > 0 {
				t.Errorf("%d snapshots", n)
			}
			w.create(host(t), Options{}) // and the next run is not kept from it
		})
	}
	inst, w := host(t), newWorld(t)
	inst.Media.External = &source.External{Kind: "s3", Bucket: "b"}
	broken("postgres", inst, nil)
	if _, err := Create(t.Context(), w.Open(w.Writer), inst, Options{}); err == nil {
		t.Error("a snapshot of secrets and Redis alone")
	}
}

// A canceller ends the run once media come.
type canceller struct {
	snapshot.NoProgress
	cancel func()
}

func (c *canceller) Add(component string, _, _ int64) {
	if component == "media" {
		c.cancel()
	}
}

// What the storage refuses is no fault of a component: the run ends, and commits nothing.
func TestCreateStorageFails(t *testing.T) {
	for _, n := range []int{1, 3} {
		w := newWorld(t)
		puts := 0
		var mu sync.Mutex
		st := &storetest.Hook{Store: w.Store, Before: func(op storetest.Op) storetest.Fault {
			mu.Lock()
			defer mu.Unlock()
			if op.Kind != "Put" || !strings.HasPrefix(op.Name, "packs/") {
				return storetest.None
			}
			if puts++; puts < n {
				return storetest.None
			}
			return storetest.NotDone
		}}
		r, err := repo.Open(t.Context(), st, w.Writer, repo.Options{})
		if err != nil {
			t.Fatal(err)
		}
		o := Options{Warn: func(err error) { t.Errorf("warned: %v", err) }}
		if res, err := Create(t.Context(), r, host(t), o); !errors.Is(err, storetest.ErrInjected) || res != nil {
			t.Errorf("put %d: %+v, %v", n, res, err)
		}
		if refs := w.Open(w.Writer).Snapshots(); len(refs) > 0 {
			t.Errorf("put %d: committed", n)
		}
	}
}

// A database without Mastodon's tables fails, by their names, and the rows of one that has them are counted in the log.
func TestCreateCountsMastodon(t *testing.T) {
	sand := instance.Sandbox(t)
	w, inst := newWorld(t), host(t)
	inst.Media.Root = snaptest.OpenDir(t)
	res := w.create(inst, Options{Skip: []string{"redis"}})
	rows := res.Ref.Holding.Postgres.Rows
	if rows == nil {
		t.Fatalf("no rows: %+v", res.Manifest.Postgres.Dump)
	}
	for table, n := range map[string]int64{"accounts": rows.Accounts, "users": rows.Users, "statuses": rows.Statuses, "media_attachments": rows.MediaAttachments} {
		want, err := sand.Postgres.Query(t.Context(), sandbox.Database, "select count(*) from "+table)
		if err != nil || strconv.FormatInt(n, 10) != strings.TrimSpace(want) || n == 0 {
			t.Errorf("%s: %d rows, want %s: %v", table, n, want, err)
		}
	}
	inst.Database.Name = "postgres"
	res = w.create(inst, Options{Skip: []string{"redis"}})
	if len(res.Failures) != 1 || !strings.Contains(res.Failures[0].Err.Error(), "it has no table accounts, schema_migrations, statuses, users") || source.CauseOf(res.Failures[0].Err).Cause != postgres.CauseNotMastodon {
		t.Errorf("the database postgres is taken for Mastodon's: %v", res.Failures)
	}
}

// What a restore elsewhere needs to know of the host is in the manifest.
func TestManifestHasFacts(t *testing.T) {
	sand := instance.Sandbox(t)
	inst := host(t)
	inst.Media.Root = snaptest.OpenDir(t)
	if err := os.Chown(inst.Media.Root, 12345, 23456); err != nil {
		t.Fatal(err)
	}
	m := newWorld(t)
	res := m.create(inst, Options{})
	loaded, err := snapshot.Load(t.Context(), m.Open(m.Owner), res.Ref)
	if err != nil {
		t.Fatal(err)
	}
	p, r := &loaded.Postgres.Server, &loaded.Redis.Server
	if p.Host != sand.Postgres.Host || p.Port != sand.Postgres.Port || p.Login != "scram-sha-256" || len(p.Roles) == 0 || p.SchemaMigration == "" {
		t.Errorf("PostgreSQL: %+v", p)
	}
	if r.Addr != inst.Redis.Addr || r.Name != "redis" || !r.Password || r.Dir == "" || r.File == "" || r.AppendOnly == nil || loaded.Redis.Dump.RDBVersion == 0 || len(r.Keys) == 0 {
		t.Errorf("Redis: %+v", r)
	}
	if loaded.Media.UID != 12345 || loaded.Media.GID != 23456 || string(loaded.Media.Root) != inst.Media.Root {
		t.Errorf("media: %+v", loaded.Media)
	}
	data, err := loaded.Encode()
	if err != nil || bytes.Contains(data, []byte(inst.Database.Password)) || bytes.Contains(data, []byte(inst.Redis.Password)) {
		t.Errorf("a password is in the manifest: %v", err)
	}
}

// A table that the role may not read fails the database while it is dumped, with the command that helps, and the rest is kept.
func TestCreateKeepsRestOfUnreadableDatabase(t *testing.T) {
	sand := instance.Sandbox(t)
	inst := host(t)
	inst.Media.Root = snaptest.OpenDir(t)
	snaptest.WriteFiles(t, inst.Media.Root, snaptest.File{Path: "accounts/a", Data: []byte("x")})
	sql := func(text string) {
		t.Helper()
		if err := sand.Postgres.Exec(t.Context(), sandbox.Database, text); err != nil {
			t.Fatal(err)
		}
	}
	sql("create role reader login password 'x'; grant select on all tables in schema public to reader; grant select on all sequences in schema public to reader; create table theirs (i int)")
	defer sand.Postgres.Exec(context.Background(), sandbox.Database, "drop table theirs; drop owned by reader; drop role reader")
	inst.Database.User, inst.Database.Password = "reader", "x"
	w := newWorld(t)
	res := w.create(inst, Options{})
	if len(res.Failures) != 1 || res.Failures[0].Part != "postgres" || source.CauseOf(res.Failures[0].Err).Cause != postgres.CauseUnreadable {
		t.Fatalf("failures: %+v", res.Failures)
	}
	if h := res.Ref.Holding; h.Secrets != snapshot.Captured || h.Redis != snapshot.Captured || h.Media.State != snapshot.Captured || h.Media.Files != 1 || h.Postgres.Size != 0 || h.Postgres.Rows != nil {
		t.Errorf("the log says %+v", h)
	}
	w.Verify(res.Ref, snapshot.NewInspector)
	w.restore(res, restore.Options{})
}
