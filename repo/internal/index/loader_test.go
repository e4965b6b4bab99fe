package index

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/localdir"
	"permafrost/internal/storetest"
	"permafrost/repo/internal/pack"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// A shelf is a Machine in a directory.
type shelf struct{ *localdir.Dir }

func newShelf(t *testing.T) *shelf {
	t.Helper()
	d, err := localdir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &shelf{d}
}

func (s *shelf) Tables() *localdir.Dir {
	d, err := s.Sub("tables")
	if err != nil {
		return nil
	}
	return d
}

func (s *shelf) Copy(name string) ([]byte, bool) {
	data, err := s.ReadFile(name, store.MaxObject)
	return data, err == nil
}

func (s *shelf) Keep(name string, data []byte) { _ = s.WriteCopy(name, data) }
func (s *shelf) Drop(name string)              { _ = s.Remove(name) }

// A loading is a storage with index objects in plain envelopes, and the log that names them.
type loading struct {
	t     *testing.T
	store *storetest.Mem
	key   *keys.Keyring
	log   *ledger.History
	notes []string
}

const here, there = "here.example", "there.example"

// newLoading returns a loading whose log has a writer for each of two instances.
func newLoading(t *testing.T) *loading {
	t.Helper()
	k, err := keys.NewOwner()
	if err != nil {
		t.Fatal(err)
	}
	l := &loading{t: t, store: storetest.NewMem(t), key: k, log: ledger.New(k)}
	for _, instance := range []string{here, there} {
		l.log.Roster.People = append(l.log.Roster.People, ledger.Person{Name: instance, Role: keys.RoleWriter, Instance: instance, VerifyKey: signer(instance)})
	}
	return l
}

// signer returns the verify key of an instance's writer.
func signer(instance string) ed25519.PublicKey {
	return append(ed25519.PublicKey(instance), make([]byte, ed25519.PublicKeySize-len(instance))...)
}

// unseal opens an envelope that is the signer's key and the body behind it.
func unseal(_ *keys.Keyring, _ string, data []byte) (ed25519.PublicKey, []byte, error) {
	if len(data) < ed25519.PublicKeySize {
		return nil, nil, errors.New("not an envelope")
	}
	return data[:ed25519.PublicKeySize], data[ed25519.PublicKeySize:], nil
}

func (l *loading) loader(m Machine) *Loader {
	return NewLoader(l.store, l.key, m, unseal, func(format string, _ ...any) { l.notes = append(l.notes, format) })
}

// put puts an index object of a writer that lists packs for an instance. The log names it, and by is who named it there.
func (l *loading) put(writer, by, instance string, packs ...*pack.Pack) store.Name {
	l.t.Helper()
	data := slices.Concat(signer(writer), EncodeObject(instance, packs))
	name := store.NameOf(data)
	l.log.Indexes.Add(name, l.log.Roster.Scope(signer(by)))
	if err := l.store.Put(l.t.Context(), store.Index.Object(name), data); err != nil {
		l.t.Fatal(err)
	}
	return name
}

func refuse(err error) error { return err }

// want asserts which packs hold a blob, by an index.
func (l *loading) want(x *Index, id chunk.ID, packs ...*pack.Pack) {
	l.t.Helper()
	places, err := x.Find(id, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	got, want := make(map[store.Name]bool), make(map[store.Name]bool)
	for _, pl := range places {
		got[x.Packs[pl.Pack].Name] = true
	}
	for _, p := range packs {
		want[p.Name] = true
	}
	if !maps.Equal(got, want) {
		l.t.Errorf("the blob is found in %d packs, want %d", len(got), len(want))
	}
}

func firstBlob(p *pack.Pack) chunk.ID { return p.Frames[0].Blobs[0].ID }

// newPack returns a pack with blobs that no other has.
func newPack(rng *rand.Rand) *pack.Pack {
	for {
		if p := fittingPack(rng); p.Name != (store.Name{}) {
			return p
		}
	}
}

// What an index object lists counts for the instance that it names, where somebody named it in the log who speaks for that. It is trusted
// where its signer does.
func TestWhoseWordCounts(t *testing.T) {
	l := newLoading(t)
	rng := rand.New(rand.NewPCG(8, 8))
	own, named, foreign := newPack(rng), newPack(rng), newPack(rng)
	l.put(here, here, here, own)
	l.put(there, here, here, named)   // signed by who may not, named by who may
	l.put(here, there, here, foreign) // the other way round
	x, err := l.loader(newShelf(t)).Load(t.Context(), l.log, refuse)
	if err != nil {
		t.Fatal(err)
	}
	l.want(x, firstBlob(own), own)
	l.want(x, firstBlob(named), named)
	l.want(x, firstBlob(foreign))
	for _, c := range []struct {
		pack    *pack.Pack
		trusted bool
	}{{own, true}, {named, false}} {
		for _, n := range x.Listed(c.pack.Name) {
			if p := &x.Packs[n]; p.Trusted != c.trusted || p.Instance != here {
				t.Errorf("pack for %q, trusted: %v, want %v", p.Instance, p.Trusted, c.trusted)
			}
		}
	}
	l.want(x.For(there), firstBlob(own))
}

// What this machine has read once it does not read again; Lost, Read and LoadAnew ask the storage.
func TestLoadTwice(t *testing.T) {
	l := newLoading(t)
	rng := rand.New(rand.NewPCG(9, 9))
	a, b := newPack(rng), newPack(rng)
	first, second := l.put(here, here, here, a), l.put(here, here, here, b)
	m := newShelf(t)
	if _, err := l.loader(m).Load(t.Context(), l.log, refuse); err != nil {
		t.Fatal(err)
	}
	l.store.Delete(store.Index.Object(first))
	loader := l.loader(m)
	x, err := loader.Load(t.Context(), l.log, refuse)
	if err != nil {
		t.Fatal(err)
	}
	l.want(x, firstBlob(a), a)
	l.want(x, firstBlob(b), b)
	lost, err := loader.Lost(t.Context(), l.log)
	if err != nil || !maps.Equal(lost, map[store.Name]bool{first: true}) {
		t.Errorf("lost: %v, %v", lost, err)
	}
	y := x.Distrust(lost)
	for _, c := range []struct {
		x       *Index
		pack    *pack.Pack
		trusted bool
	}{{x, a, true}, {y, a, false}, {y, b, true}} {
		if n := c.x.Listed(c.pack.Name); len(n) != 1 || c.x.Packs[n[0]].Trusted != c.trusted {
			t.Errorf("of a lost index object: listed %d times, want trust %v", len(n), c.trusted)
		}
	}
	var damage *store.DamageError
	if err := loader.Read(t.Context(), []store.Name{second, first}); !errors.As(err, &damage) || damage.Object != store.Index.Object(first) {
		t.Errorf("a missing index object is read: %v", err)
	}
	var heard []error
	x, err = loader.LoadAnew(t.Context(), l.log, func(err error) error { heard = append(heard, err); return nil })
	if err != nil || len(heard) != 1 || !errors.As(heard[0], &damage) {
		t.Fatalf("%v; heard %v", err, heard)
	}
	l.want(x, firstBlob(a))
	l.want(x, firstBlob(b), b)
	if _, err := loader.LoadAnew(t.Context(), l.log, refuse); !errors.As(err, &damage) {
		t.Errorf("damage that is refused: %v", err)
	}
	if len(l.notes) > 0 {
		t.Errorf("notes %q", l.notes)
	}
}

// An index with further packs finds these too, as trusted ones; the one that it was made of stays as it was.
func TestExtend(t *testing.T) {
	l := newLoading(t)
	rng := rand.New(rand.NewPCG(10, 10))
	a, b := newPack(rng), newPack(rng)
	l.put(here, here, here, a)
	loader := l.loader(newShelf(t))
	x, err := loader.Load(t.Context(), l.log, refuse)
	if err != nil {
		t.Fatal(err)
	}
	y, err := loader.Extend(x, l.log, here, func(yield func(*pack.Pack, error) bool) { yield(b, nil) })
	if err != nil {
		t.Fatal(err)
	}
	l.want(x, firstBlob(b))
	l.want(y, firstBlob(a), a)
	l.want(y, firstBlob(b), b)
	l.want(y.For(there), firstBlob(b))
	if n := y.Listed(b.Name); len(n) != 1 || !y.Packs[n[0]].Trusted {
		t.Errorf("the new pack is listed %d times, and trusted: %v", len(n), y.Packs[n[0]].Trusted)
	}
	failed := errors.New("no more packs")
	if _, err := loader.Extend(x, l.log, here, func(yield func(*pack.Pack, error) bool) { yield(nil, failed) }); !errors.Is(err, failed) {
		t.Errorf("packs that end with an error: %v", err)
	}
}

// The packs of an index object come in full, and in the order by which the index numbers them.
func TestPacks(t *testing.T) {
	l := newLoading(t)
	rng := rand.New(rand.NewPCG(11, 11))
	var want []*pack.Pack
	for range 3 {
		packs := []*pack.Pack{newPack(rng), newPack(rng)}
		l.put(here, here, here, packs...)
		want = append(want, packs...)
	}
	loader := l.loader(newShelf(t))
	x, err := loader.Load(t.Context(), l.log, refuse)
	if err != nil {
		t.Fatal(err)
	}
	var got []*pack.Pack
	for o := range x.Objects {
		for p, err := range loader.Packs(t.Context(), x, o) {
			if err != nil {
				t.Fatal(err)
			}
			if x.Packs[p.N].Name != p.Name {
				t.Error("a pack has the number of another one")
			}
			got = append(got, p.Pack)
		}
	}
	if !bytes.Equal(EncodeObject("", got), EncodeObject("", want)) {
		t.Errorf("%d packs, want %d", len(got), len(want))
	}
}

// A pack that the log lists as pruned is hidden, one that is reported damaged stays; of listings that say the same one counts.
func TestHidden(t *testing.T) {
	l := newLoading(t)
	rng := rand.New(rand.NewPCG(12, 12))
	pruned, reported, twice := newPack(rng), newPack(rng), newPack(rng)
	l.put(here, here, here, pruned, reported, twice)
	l.put(there, here, here, twice)
	by := ledger.Scopes{l.log.Roster.Scope(signer(here))}
	l.log.Pruned[store.Pack.Object(pruned.Name)] = by
	l.log.Reported[reported.Name] = by
	x, err := l.loader(newShelf(t)).Load(t.Context(), l.log, refuse)
	if err != nil {
		t.Fatal(err)
	}
	l.want(x, firstBlob(pruned))
	l.want(x, firstBlob(reported), reported)
	if n := x.Listed(reported.Name); len(n) != 1 || !x.Packs[n[0]].Reported {
		t.Errorf("the reported pack is listed %d times", len(n))
	}
	if n := x.Listed(twice.Name); len(n) != 1 || !x.Packs[n[0]].Trusted {
		t.Errorf("of two listings %d count", len(n))
	}
	if n := len(x.Listings()); n != 2 {
		t.Errorf("%d listings count, want 2", n)
	}
}

// A table that is damaged on this machine is made anew, with one note.
func TestDamagedTable(t *testing.T) {
	l := newLoading(t)
	a := newPack(rand.New(rand.NewPCG(13, 13)))
	l.put(here, here, here, a)
	m := newShelf(t)
	for i := range 3 {
		x, err := l.loader(m).Load(t.Context(), l.log, refuse)
		if err != nil {
			t.Fatal(err)
		}
		l.want(x, firstBlob(a), a)
		if want := min(i, 1); len(l.notes) != want {
			t.Fatalf("load %d: notes %q", i, l.notes)
		}
		if i > 0 {
			continue
		}
		tables, err := filepath.Glob(m.Path("tables/*"))
		if err != nil || len(tables) != 1 {
			t.Fatal(tables, err)
		}
		if err := m.WriteFile("tables/"+filepath.Base(tables[0]), make([]byte, pageSize)); err != nil {
			t.Fatal(err)
		}
	}
}
