package restore

import (
	"crypto/sha256"
	"path/filepath"
	"testing"
	"time"

	"permafrost/snapshot/backup"

	"permafrost/chunk"
	"permafrost/internal/snaptest"
	"permafrost/snapshot"
	"permafrost/snapshot/stream"
	"permafrost/source"
	"permafrost/source/postgres"
	"permafrost/source/postgres/archive"
	"permafrost/source/redis"
)

var instance snaptest.Instance

// host returns the settings of the shared instance. Those of the media are the test's own to change.
func host(t testing.TB) *source.Instance {
	t.Helper()
	return instance.Host(t)
}

// A world is a repository in memory.
type world struct {
	*snaptest.World
	t testing.TB
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return &world{snaptest.New(t), t}
}

// create makes a snapshot with the writer's key.
func (w *world) create(inst *source.Instance, o backup.Options) *backup.Result {
	w.t.Helper()
	res, err := backup.Create(w.t.Context(), w.Open(w.Writer), inst, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

// restore restores a snapshot with the owner's key into a new directory.
func (w *world) restore(res *backup.Result, o Options) string {
	w.t.Helper()
	o.Target = filepath.Join(w.t.TempDir(), "restored")
	if _, err := Restore(w.t.Context(), w.Open(w.Owner), res.Ref, o); err != nil {
		w.t.Fatal(err)
	}
	return o.Target
}

// madeUp returns a manifest of whatever a snapshot may have.
func madeUp() *snapshot.Manifest {
	at := time.Date(2026, 6, 27, 2, 0, 0, 5, time.UTC)
	made := func(n byte) snapshot.Stream {
		return snapshot.Stream{Size: int64(n), SHA256: sha256.Sum256([]byte{n}), Recipe: stream.Whole(chunk.ID{n}, int64(n))}
	}
	return &snapshot.Manifest{
		Format: snapshot.Format, Instance: "social.example", Date: "2026-06-27", Created: at, Finished: at, Host: "web1", Version: "1.0",
		Tags: []string{"nightly"}, Live: "/home/mastodon/live", User: "mastodon",
		Boundary: snapshot.Boundary{Snapshot: "00000003-1", LSN: "0/1", Time: at, Redis: at, MediaFrom: at, MediaTo: at},
		Secrets: snapshot.Secrets{State: snapshot.Captured, Files: []snapshot.SecretFile{
			{Path: "/home/mastodon/live/.env.production", Mode: 0o600, MTime: 1, Stream: made(1)}, {Path: "/etc/\xff<>", Stream: snapshot.Stream{SHA256: sha256.Sum256(nil)}}}},
		Postgres: snapshot.Postgres{State: snapshot.Captured, Database: "mastodon_production", User: "mastodon", Stream: made(2), Server: postgres.Facts{Version: "15.14"}, Dump: postgres.DumpFacts{Entries: 7,
			Tables: map[string]archive.Table{"public.accounts": {Rows: 1, Bytes: 1}}}},
		Redis:   snapshot.Redis{State: snapshot.Captured, Stream: made(3), Server: redis.Facts{Keys: map[int]int64{0: 9}}},
		Sidekiq: &snapshot.Redis{State: snapshot.Captured, Stream: made(4)},
		Media: snapshot.Media{State: snapshot.Captured, Root: "/home/mastodon/live/public/system", Files: 4, Size: 5, Excludes: []snapshot.Text{"\xff"},
			LeftOut: 1, Left: []snapshot.LeftOut{{Path: "a\xffb", Reason: "open: permission denied"}}},
		Users: map[uint32]string{991: "mastodon"}, Groups: map[uint32]string{991: "mastodon"},
	}
}

func TestMain(m *testing.M) { instance.Main(m) }
