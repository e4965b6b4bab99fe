package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"permafrost/chunk"
	"permafrost/internal/snaptest"
	"permafrost/repo/store"
	"permafrost/snapshot/internal/blobtree"
	"permafrost/snapshot/stream"
	"permafrost/source/postgres"
	"permafrost/source/postgres/archive"
	"permafrost/source/redis"
)

func sampleManifest() *Manifest {
	at := time.Date(2026, 6, 27, 2, 0, 0, 5, time.UTC)
	stream := func(n byte) Stream {
		return Stream{Size: int64(n), SHA256: sha256.Sum256([]byte{n}), Recipe: stream.Whole(chunk.ID{n}, int64(n))}
	}
	m := snaptest.Blobs{}
	w := NewListingWriter(m.Put, sha256.Sum256(nil))
	for _, e := range oddEntries() {
		if err := w.Add(e); err != nil {
			panic(err)
		}
	}
	l, err := w.Finish()
	if err != nil {
		panic(err)
	}
	return &Manifest{
		Format: Format, Instance: "social.example", Date: "2026-06-27", Created: at, Finished: at, Host: "web1", Version: "1.0",
		Tags: []string{"nightly"}, Live: "/home/mastodon/live", User: "mastodon",
		Boundary: Boundary{Snapshot: "00000003-1", LSN: "0/1", Time: at, Redis: at, MediaFrom: at, MediaTo: at},
		Secrets: Secrets{State: Captured, Files: []SecretFile{
			{Path: "/home/mastodon/live/.env.production", Mode: 0o600, MTime: 1, Stream: stream(1)}, {Path: "/etc/\xff<>", Stream: Stream{SHA256: sha256.Sum256(nil)}}}},
		Postgres: Postgres{State: Captured, Database: "mastodon_production", User: "mastodon", Stream: stream(2), Server: postgres.Facts{Version: "15.14"}, Dump: postgres.DumpFacts{Entries: 7,
			Tables: map[string]archive.Table{"public.accounts": {Rows: 1, Bytes: 1}}}},
		Redis:   Redis{State: Captured, Stream: stream(3), Server: redis.Facts{Keys: map[int]int64{0: 9}}},
		Sidekiq: &Redis{State: Captured, Stream: stream(4)},
		Media: Media{State: Captured, Root: "/home/mastodon/live/public/system", Listing: l, Files: 4, Size: 5, Excludes: []Text{"\xff"},
			LeftOut: 1, Left: []LeftOut{{"a\xffb", "open: permission denied"}}},
		Users: map[uint32]string{991: "mastodon"}, Groups: map[uint32]string{991: "mastodon"},
	}
}

func TestManifestRoundTrip(t *testing.T) {
	m := sampleManifest()
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseManifest(data)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, m) {
		t.Errorf("\n got %+v\nwant %+v", got, m)
	}
	again, err := got.Encode()
	if err != nil || !bytes.Equal(again, data) {
		t.Errorf("encoded again: %v\n%s\n%s", err, again, data)
	}
}

func TestManifestRefuses(t *testing.T) {
	for name, spoil := range map[string]func(m *Manifest){
		"no instance":      func(m *Manifest) { m.Instance = "" },
		"date":             func(m *Manifest) { m.Date = "2026-02-30" },
		"no secrets":       func(m *Manifest) { m.Secrets.Files = nil },
		"secret elsewhere": func(m *Manifest) { m.Secrets.Files[1].Path = "/etc/../../x" },
		"relative secret":  func(m *Manifest) { m.Secrets.Files[1].Path = "etc" },
		"no dump":          func(m *Manifest) { m.Postgres.Stream = Stream{} },
		"dump's size":      func(m *Manifest) { m.Postgres.Size++ },
		"dump's recipe":    func(m *Manifest) { m.Postgres.Recipe.Root = m.Postgres.Recipe.Root[1:] },
		"dump's depth":     func(m *Manifest) { m.Postgres.Recipe.Depth = blobtree.MaxDepth + 1 },
		"external dump":    func(m *Manifest) { m.Postgres = Postgres{State: External} },
		"failed silently":  func(m *Manifest) { m.Redis = Redis{State: Failed} },
		"failed with data": func(m *Manifest) { m.Redis.State, m.Redis.Reason = Failed, "x" },
		"skipped data":     func(m *Manifest) { m.Redis.State = Skipped },
		"reason for none":  func(m *Manifest) { m.Redis.Reason = "x" },
		"reason's length":  func(m *Manifest) { m.Redis = Redis{State: Failed, Reason: strings.Repeat("x", MaxReason+1)} },
		"failed media":     func(m *Manifest) { m.Media.State, m.Media.Reason = Failed, "x" },
		"secrets failed":   func(m *Manifest) { m.Secrets.State, m.Secrets.Reason = Failed, "x" }, // and are there
		"part of no files": func(m *Manifest) { m.Secrets = Secrets{State: Incomplete, Reason: "x"} },
		"part of Redis":    func(m *Manifest) { m.Redis = Redis{State: Incomplete, Reason: "x"} },
		"part of media":    func(m *Manifest) { m.Media.State, m.Media.Reason = Incomplete, "x" },
		"skipped secrets":  func(m *Manifest) { m.Secrets.State = Skipped },
		"nothing": func(m *Manifest) {
			m.Postgres, m.Media = Postgres{State: Failed, Reason: "x"}, Media{State: Failed, Reason: "x"}
		},
		"negative rows":   func(m *Manifest) { m.Postgres.Dump.Tables["public.users"] = archive.Table{Rows: -1} },
		"more rows":       func(m *Manifest) { m.Postgres.Dump.Tables["public.users"] = archive.Table{Rows: m.Postgres.Size + 1} },
		"large objects":   func(m *Manifest) { m.Postgres.Dump.LargeObjects = -1 },
		"redis' state":    func(m *Manifest) { m.Redis.State = "" },
		"sidekiq's size":  func(m *Manifest) { m.Sidekiq.Size = -1 },
		"media nowhere":   func(m *Manifest) { m.Media.State = External },
		"media's listing": func(m *Manifest) { m.Media.Listing.Root = m.Media.Listing.Root[1:] },
		"media's depth":   func(m *Manifest) { m.Media.Listing.Depth = 0 },
		"media's files":   func(m *Manifest) { m.Media.Files = 1000 },
		"media left out":  func(m *Manifest) { m.Media.LeftOut = 0 },
	} {
		m := sampleManifest()
		spoil(m)
		if _, err := m.Encode(); err == nil {
			t.Errorf("%s: encoded", name)
		}
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseManifest(data); err == nil {
			t.Errorf("%s: parsed", name)
		}
	}
	data, _ := sampleManifest().Encode()
	if _, err := ParseManifest(bytes.Replace(data, []byte(`"format":1`), []byte(`"format":2`), 1)); !errors.Is(err, store.ErrNewerFormat) {
		t.Errorf("format 2: %v", err)
	}
	for _, bad := range []string{"", "null", "[]", "{}", string(data[:len(data)-1]), string(data) + "{}", strings.Repeat("[", 100000)} {
		if _, err := ParseManifest([]byte(bad)); err == nil {
			t.Errorf("%.20q: parsed", bad)
		}
	}
	if _, err := ParseManifest(append(data[:len(data)-1], `,"later":1}`...)); err != nil {
		t.Errorf("a member of a later version: %v", err)
	}
}

// No manifest with a name that no command can hold, or with a path that leads elsewhere, is read.
func TestManifestTexts(t *testing.T) {
	for what, spoil := range map[string]func(m *Manifest){
		"NUL in a host":        func(m *Manifest) { m.Host = "a\x00b" },
		"NUL in a user":        func(m *Manifest) { m.Users[991] = "\x00" },
		"NUL in an extension":  func(m *Manifest) { m.Postgres.Server.Extensions = map[string]string{"a\x00": ""} },
		"an endless role":      func(m *Manifest) { m.Postgres.User = strings.Repeat("x", 1<<20) },
		"an endless tag":       func(m *Manifest) { m.Tags = []string{strings.Repeat("x", 1<<20)} },
		"a secret above":       func(m *Manifest) { m.Secrets.Files[1].Path = "/a/../etc/shadow" },
		"a live directory":     func(m *Manifest) { m.Live = "live" },
		"a live directory up":  func(m *Manifest) { m.Live = "/home/.." },
		"a root of media":      func(m *Manifest) { m.Media.Root = "-x" },
		"a queue of Redis":     func(m *Manifest) { m.Redis.Server.RunID = "\x00" },
		"a reason of left out": func(m *Manifest) { m.Media.Left[0].Reason = "\x00" },
	} {
		m := sampleManifest()
		spoil(m)
		if _, err := m.Encode(); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}
