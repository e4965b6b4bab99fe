package repo_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"permafrost/chunk"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/inspection"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

const instance = "social.example"

// envelopes are those that repositories consist of: a keyring's, unless a test wants others.
var envelopes repo.Envelopes

// useEnvelopes lets repositories consist of other envelopes until the test ends.
func useEnvelopes(t testing.TB, e repo.Envelopes) {
	before := envelopes
	envelopes = e
	t.Cleanup(func() { envelopes = before })
}

func initRepo(ctx context.Context, st store.Store, owner, writer *keys.Keyring, o repo.InitOptions) error {
	return repo.Init(ctx, st, owner, writer, o.WithEnvelopes(envelopes))
}

func openRepo(ctx context.Context, st store.Store, k *keys.Keyring, o repo.Options) (*repo.Repo, error) {
	return repo.Open(ctx, st, k, o.WithEnvelopes(envelopes))
}

// A world is a repository in a store, with the keys to it and a place for what machines remember.
type world struct {
	t             *testing.T
	store         store.Store
	owner, writer *keys.Keyring
	dir           string
}

func newWorld(t *testing.T, st store.Store, o repo.InitOptions) *world {
	t.Helper()
	owner, err := keys.NewOwner()
	if err != nil {
		t.Fatal(err)
	}
	writer, err := owner.NewWriter("web1")
	if err != nil {
		t.Fatal(err)
	}
	if o.Instance == "" {
		o.Instance = instance
	}
	if err := initRepo(t.Context(), st, owner, writer, o); err != nil {
		t.Fatal(err)
	}
	return &world{t, st, owner, writer, t.TempDir()}
}

// open opens the repository as a machine that remembers: one for each role. It waits for nobody's lease.
func (w *world) open(k *keys.Keyring) *repo.Repo {
	w.t.Helper()
	r, err := w.tryOpen(w.store, k)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) tryOpen(st store.Store, k *keys.Keyring) (*repo.Repo, error) {
	d := filepath.Join(w.dir, string(k.Role))
	return openRepo(w.t.Context(), storetest.Alone(st), k, repo.Options{StateDir: filepath.Join(d, "state"), CacheDir: filepath.Join(d, "cache")})
}

// openFresh opens it on a machine that has never seen it, and waits for nobody's lease.
func openFresh(ctx context.Context, st store.Store, k *keys.Keyring) (*repo.Repo, error) {
	return openRepo(ctx, storetest.Alone(st), k, repo.Options{})
}

// content is what a test snapshot holds, by component.
type content map[repo.Component][][]byte

// blobs returns n blobs of up to size bytes, the same for the same seed; half of them compress.
func blobs(seed uint64, n, size int) [][]byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := make([][]byte, n)
	for i := range out {
		b := make([]byte, 1+rng.IntN(size))
		for j := range b {
			if i%2 == 0 {
				b[j] = byte(rng.Uint32())
			} else {
				b[j] = "permafrost "[(j/3+i)%11]
			}
		}
		out[i] = b
	}
	return out
}

// add gives c to a run, and returns the manifest.
func (c content) add(ctx context.Context, w *repo.Writer) ([]byte, error) {
	m := manifest{make(map[string][]string)}
	for _, comp := range slices.Sorted(maps.Keys(c)) {
		for _, b := range c[comp] {
			id := w.Sum(comp, b)
			if _, err := w.Add(ctx, comp, id, b); err != nil {
				return nil, err
			}
			m.Blobs[comp.String()] = append(m.Blobs[comp.String()], id.String())
		}
	}
	return json.Marshal(m)
}

func snapshot(ctx context.Context, r *repo.Repo, c content, day int) (ledger.SnapshotRef, map[repo.Component]repo.Stats, error) {
	w, err := r.NewWriter(ctx, instance)
	if err != nil {
		return ledger.SnapshotRef{}, nil, err
	}
	defer w.Abort()
	text, err := c.add(ctx, w)
	if err != nil {
		return ledger.SnapshotRef{}, nil, err
	}
	when := time.Date(2026, 6, day, 2, 0, 0, 0, time.UTC)
	ref, err := w.Commit(ctx, text, ledger.SnapshotInfo{Instance: instance, Host: "web1", Date: when.Format(time.DateOnly), Time: when})
	return ref, w.Stats(), err
}

func mustSnapshot(t *testing.T, r *repo.Repo, c content, day int) (ledger.SnapshotRef, map[repo.Component]repo.Stats) {
	t.Helper()
	ref, stats, err := snapshot(t.Context(), r, c, day)
	if err != nil {
		t.Fatal(err)
	}
	return ref, stats
}

// verify reads all of a snapshot back and compares.
func verify(ctx context.Context, r *repo.Repo, ref ledger.SnapshotRef, c content) error {
	text, err := r.Manifest(ctx, ref)
	if err != nil {
		return err
	}
	rd, err := r.NewReader(ctx, instance)
	if err != nil {
		return err
	}
	want := make(map[string]int)
	for _, list := range c {
		for _, b := range list {
			want[string(b)]++
		}
	}
	got := make(map[chunk.ID]string)
	put := make(chan struct{}, 1)
	if err := rd.Fetch(ctx, idsOf(text), func(id chunk.ID, data []byte) error {
		put <- struct{}{}
		got[id] = string(data)
		<-put
		return nil
	}); err != nil {
		return err
	}
	for _, id := range idsOf(text) {
		want[got[id]]--
		if n, ok := rd.Length(id); !ok || n != len(got[id]) {
			return fmt.Errorf("length of a blob is %d, %v, want %d", n, ok, len(got[id]))
		}
	}
	for b, n := range want {
		if n != 0 {
			return fmt.Errorf("a blob of %d bytes is %d times missing", len(b), n)
		}
	}
	return nil
}

func check(t *testing.T, r *repo.Repo, o upkeep.CheckOptions) (*upkeep.CheckResult, []error) {
	t.Helper()
	var problems []error
	o.Problem = func(err error) { problems = append(problems, err) }
	res, err := upkeep.Check(t.Context(), r, mark, o)
	if err != nil {
		t.Fatal(err)
	}
	return res, problems
}

func mustBeClean(t *testing.T, r *repo.Repo) *upkeep.CheckResult {
	t.Helper()
	res, problems := check(t, r, upkeep.CheckOptions{Read: &upkeep.Subset{Percent: 100}})
	for _, p := range problems {
		t.Errorf("check: %v", p)
	}
	return res
}

func night(seed uint64) content {
	return content{
		repo.Meta: blobs(seed, 8, 3000), repo.Secrets: blobs(seed+1, 1, 900), repo.Postgres: blobs(seed+2, 60, 20000),
		repo.Redis: blobs(seed+3, 5, 2000), repo.Media: blobs(seed+4, 30, 90000),
	}
}

// The manifests of these tests list the blobs of each component, and their content's length.
type manifest struct {
	Blobs map[string][]string `json:"blobs"`
}

// mark makes the Inspector of such manifests.
func mark(rd *repo.Reader) inspection.Inspector { return inspector{rd: rd} }

// An inspector takes each blob for a part of the snapshot. It reads the blob node, unless that is zero, as one does a node of a tree.
type inspector struct {
	rd   *repo.Reader
	node chunk.ID
}

func (in inspector) Inspect(ctx context.Context, text []byte, v inspection.Visitor) (ledger.Holding, error) {
	for _, id := range idsOf(text) {
		part := id.String()[:8]
		err := v.Need(ctx, inspection.Need{Part: part, Blob: id})
		if err == nil && id == in.node && !id.IsZero() {
			_, err = in.rd.Blob(ctx, id)
		}
		if d := (*store.DamageError)(nil); errors.As(err, &d) {
			err = v.Lost(part, err)
		}
		if err != nil {
			return ledger.Holding{}, err
		}
	}
	return ledger.Holding{}, nil
}

func idsOf(text []byte) (ids []chunk.ID) {
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		panic(err)
	}
	for _, list := range m.Blobs {
		for _, s := range list {
			id, err := chunk.ParseID(s)
			if err != nil {
				panic(err)
			}
			ids = append(ids, id)
		}
	}
	return ids
}
