package snaptest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/sandbox"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/inspection"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
	"permafrost/source"
)

// Domain is the instance of a World.
const Domain = "mastodon.example"

// A World is a repository in memory, and the keys to it.
type World struct {
	Store         *storetest.Mem
	Owner, Writer *keys.Keyring

	t testing.TB
}

// New makes a World with an owner and a writer of Domain.
func New(t testing.TB) *World {
	t.Helper()
	owner, err := keys.NewOwner()
	if err != nil {
		t.Fatal(err)
	}
	writer, err := owner.NewWriter("web1")
	if err != nil {
		t.Fatal(err)
	}
	w := &World{storetest.NewMem(t), owner, writer, t}
	if err := repo.Init(t.Context(), w.Store, owner, writer, repo.InitOptions{Instance: Domain}); err != nil {
		t.Fatal(err)
	}
	return w
}

// Open opens the repository as who holds k.
func (w *World) Open(k *keys.Keyring) *repo.Repo {
	w.t.Helper()
	r, err := repo.Open(w.t.Context(), w.Store, k, repo.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// Verify looks up all that a snapshot needs, and has the repository check itself with all content read.
func (w *World) Verify(ref ledger.SnapshotRef, inspect inspection.Maker) {
	w.t.Helper()
	r := w.Open(w.Owner)
	rd, err := r.NewReader(w.t.Context(), ref.Instance)
	if err != nil {
		w.t.Fatal(err)
	}
	manifest, err := r.Manifest(w.t.Context(), ref)
	if err != nil {
		w.t.Fatal(err)
	}
	v := &LookUp{Blobs: rd}
	if _, err := inspect(rd).Inspect(w.t.Context(), manifest, v); err != nil || v.Losses != nil {
		w.t.Fatal(err, v.Losses)
	}
	check, err := upkeep.Check(w.t.Context(), r, inspect,
		upkeep.CheckOptions{Read: &upkeep.Subset{Percent: 100}, Problem: func(err error) { w.t.Error(err) }})
	if err != nil {
		w.t.Fatal(err)
	}
	if check.Problems > 0 || check.Blobs == 0 {
		w.t.Errorf("check: %+v", check)
	}
}

// A LookUp is a inspection.Visitor that looks blobs up by their lengths.
type LookUp struct {
	Blobs interface {
		Length(id chunk.ID) (int, bool)
	}
	Needs  int     // how many it was told
	Losses []error // of parts
}

// Need implements inspection.Visitor.
func (v *LookUp) Need(_ context.Context, n inspection.Need) error {
	v.Needs++
	length, ok := v.Blobs.Length(n.Blob)
	if !ok || n.Offset+n.Length > length || n.Whole && n.Length != length {
		return &store.DamageError{Object: "blob " + n.Blob.String()[:8], Err: fmt.Errorf("it has %d bytes of %+v", length, n)}
	}
	return nil
}

// Lost implements inspection.Visitor.
func (v *LookUp) Lost(_ string, err error) error {
	v.Losses = append(v.Losses, err)
	return nil
}

// An Instance is the small Mastodon server that the tests of a package share: PostgreSQL, two Redis and media. It is started for the
// first test that asks for it.
type Instance struct {
	mu      sync.Mutex
	sandbox *sandbox.Instance
}

// Main runs a package's tests, for its TestMain, and stops the instance. It does not return.
func (i *Instance) Main(m *testing.M) {
	code := m.Run()
	if i.sandbox != nil {
		if err := i.sandbox.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// Sandbox returns the running instance.
func (i *Instance) Sandbox(t testing.TB) *sandbox.Instance {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.sandbox == nil {
		s, err := sandbox.Start(context.Background(), sandbox.Config{Statuses: 1500, Files: 120, Sidekiq: true})
		if err != nil {
			t.Fatal(err)
		}
		i.sandbox = s
	}
	return i.sandbox
}

// Host returns the settings of the instance. Those of the media are the test's own to change.
func (i *Instance) Host(t testing.TB) *source.Instance {
	t.Helper()
	inst, err := source.Load(i.Sandbox(t).Live, "", source.Addresses{})
	if err != nil {
		t.Fatal(err)
	}
	return inst
}
