package repo

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"filippo.io/age"

	"permafrost/chunk"
	"permafrost/repo/internal/core"
	"permafrost/repo/internal/index"
	"permafrost/repo/internal/logbook"
	"permafrost/repo/internal/machine"
	"permafrost/repo/internal/pack"
	"permafrost/repo/keys"
	"permafrost/repo/lease"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// What a hostile holder of a key can do is more than this package's exported API: these let tests do it.

// AsItIs lets PutLies tell the truth of a pack's component.
const AsItIs = pack.Component(255)

// PublishSnapshot commits a snapshot of whatever the manifest says, with no more ado.
func (r *Repo) PublishSnapshot(ctx context.Context, manifest []byte, e *ledger.SnapshotEntry) error {
	var err error
	if e.Manifest, err = r.core.PutManifest(ctx, manifest); err != nil {
		return err
	}
	return r.PublishRaw(ctx, &ledger.Entry{Snapshot: e})
}

// PutManifest puts a manifest that no log entry names.
func (r *Repo) PutManifest(ctx context.Context, manifest []byte) (store.Name, error) {
	return r.core.PutManifest(ctx, manifest)
}

// PublishRaw puts an entry into the log as it is.
func (r *Repo) PublishRaw(ctx context.Context, e *ledger.Entry) error {
	data, err := r.core.Log.SealEntry(e)
	if err != nil {
		return err
	}
	return r.core.Store.Put(ctx, store.LogObject(e.Seq), data)
}

// Listed returns every pack that the index lists.
func (r *Repo) Listed(ctx context.Context) ([]store.Name, error) {
	x, err := r.core.LoadIndex(ctx)
	if err != nil {
		return nil, err
	}
	var names []store.Name
	for _, n := range x.Listings() {
		names = append(names, x.Packs[n].Name)
	}
	return names, nil
}

// Spent returns how many index objects that this key may drop list nothing but what prunes have named.
func (r *Repo) Spent(ctx context.Context) (n int, err error) {
	x, err := r.core.LoadIndex(ctx)
	if err != nil {
		return 0, err
	}
	log := r.core.Log
	for _, o := range x.Objects {
		there := slices.ContainsFunc(x.Packs[o.First:o.First+o.Packs], func(p index.Pack) bool {
			return p.Instance != "" && !p.Foreign && !log.PrunedFor(store.Pack.Object(p.Name), p.Instance)
		})
		if o.Live && !there && log.Indexes.MayDrop(log.Roster.Scope(r.core.Key.VerifyKey()), o.Name) {
			n++
		}
	}
	return n, nil
}

// PutLies puts an index object for an instance, signed by the key at hand, that lists every known pack with what change
// makes of each blob, as of component c.
func (r *Repo) PutLies(ctx context.Context, instance string, c pack.Component, change func(length int) int) ([]store.Name, error) {
	x, err := r.core.LoadIndex(ctx)
	if err != nil {
		return nil, err
	}
	var lies []*pack.Pack
	for o := range x.Objects {
		for lie, err := range r.core.Indexes.Packs(ctx, x, o) {
			if err != nil {
				return nil, err
			}
			lies = append(lies, lie.Pack)
		}
	}
	for _, lie := range lies {
		if c != AsItIs {
			lie.Component = c
		}
		lie.Frames = slices.Clone(lie.Frames)
		for j, f := range lie.Frames {
			f.Blobs = slices.Clone(f.Blobs)
			for k := range f.Blobs {
				f.Blobs[k].Length = change(f.Blobs[k].Length)
			}
			if c != AsItIs {
				f.Codec = pack.Zstd
			}
			lie.Frames[j] = f
		}
	}
	return r.core.PutIndexes(ctx, instance, core.InMemory(lies))
}

// Envelopes makes and opens envelopes.
type Envelopes = logbook.Envelopes

// WithEnvelopes returns o for a repository that consists of other envelopes than a keyring's.
func (o Options) WithEnvelopes(e Envelopes) Options {
	o.envelopes = e
	return o
}

// WithEnvelopes is as that of Options.
func (o InitOptions) WithEnvelopes(e Envelopes) InitOptions {
	o.envelopes = e
	return o
}

// PlainEnvelopes cost nothing: they say in the clear who made them, under which keys, and what they hold. Who lacks the keys opens
// none, and one that was changed is none. They are for a simulation, which is about the order of things and would do little else than
// seal and open.
func PlainEnvelopes() Envelopes {
	const head = 8 + ed25519.PublicKeySize + 16
	proof := func(k *keys.Keyring, head, keys, body []byte) []byte {
		sum := sha256.Sum256(slices.Concat(k.Repository[:], head, keys, body))
		return sum[:]
	}
	var e Envelopes
	e.Seal = func(k *keys.Keyring, e *keys.Epoch, magic string, body []byte) ([]byte, error) {
		nonce := make([]byte, 16) // no two envelopes are alike
		rand.Read(nonce)
		h, keys := slices.Concat([]byte(magic), k.VerifyKey(), nonce), e.Signature[:32]
		return slices.Concat(h, keys, proof(k, h, keys, body), body), nil
	}
	e.Unseal = func(k *keys.Keyring, magic string, data []byte) (ed25519.PublicKey, []byte, error) {
		if len(data) < head+64 || string(data[:7]) != magic[:7] {
			return nil, nil, errors.New("not an envelope of that kind")
		}
		of, body := data[head:head+32], data[head+64:]
		if !bytes.Equal(data[head+32:head+64], proof(k, data[:head], of, body)) {
			return nil, nil, errors.New("it was changed")
		}
		if !slices.ContainsFunc(k.Epochs, func(e keys.Epoch) bool { return bytes.Equal(e.Signature[:32], of) }) {
			return nil, nil, errors.New("decrypting: no key fits")
		}
		signer := ed25519.PublicKey(data[8 : head-16])
		if data[7] != magic[7] {
			return signer, nil, store.ErrNewerFormat
		}
		return signer, body, nil
	}
	return e
}

// RememberEnvelopes are a keyring's, and none is opened twice: what was opened is known by all its bytes. They are for tests that
// change one object and read all the others again.
func RememberEnvelopes() Envelopes {
	type envelope struct {
		epochs, magic string
		sum           store.Name
	}
	type opened struct {
		signer ed25519.PublicKey
		body   []byte
	}
	var known sync.Map
	unseal := func(k *keys.Keyring, magic string, data []byte) (ed25519.PublicKey, []byte, error) {
		e := envelope{magic: magic, sum: store.NameOf(data)}
		for _, epoch := range k.Epochs {
			e.epochs += string(epoch.Signature)
		}
		if o, ok := known.Load(e); ok {
			return slices.Clone(o.(opened).signer), slices.Clone(o.(opened).body), nil
		}
		signer, body, err := k.Unseal(magic, data)
		if err == nil {
			known.Store(e, opened{slices.Clone(signer), slices.Clone(body)})
		}
		return signer, body, err
	}
	return Envelopes{Seal: (*keys.Keyring).Seal, Unseal: unseal}
}

// OpensEnvelope reports whether a keyring opens what may be an envelope of e.
func OpensEnvelope(e Envelopes, k *keys.Keyring, data []byte) bool {
	return slices.ContainsFunc([]string{keys.KindIndex, keys.KindManifest, keys.KindEntry, keys.KindLease}, func(magic string) bool {
		_, _, err := e.Unseal(k, magic, data)
		return err == nil
	})
}

// PutSwaps puts an index object for an instance that lists every known pack with the IDs of its frames' first and last
// blobs swapped.
func (r *Repo) PutSwaps(ctx context.Context, instance string) ([]store.Name, error) {
	return r.putListings(ctx, instance, func(p *pack.Pack) {
		for _, f := range p.Frames {
			first, last := &f.Blobs[0], &f.Blobs[len(f.Blobs)-1]
			first.ID, last.ID = last.ID, first.ID
		}
	})
}

// DataSum returns the ID of a data blob.
func (r *Repo) DataSum(b []byte) chunk.ID { return r.core.Log.CurrentEpoch().DataKey.Sum(b) }

// PutClaims puts an index object for an instance that lists every known pack, with another ID for the first blob of each
// frame.
func (r *Repo) PutClaims(ctx context.Context, instance string, id func(length int) chunk.ID) ([]store.Name, error) {
	return r.putListings(ctx, instance, func(p *pack.Pack) {
		for _, f := range p.Frames {
			f.Blobs[0].ID = id(f.Blobs[0].Length)
		}
	})
}

// putListings puts an index object for an instance that lists every known pack as change leaves it.
func (r *Repo) putListings(ctx context.Context, instance string, change func(*pack.Pack)) ([]store.Name, error) {
	x, err := r.core.LoadIndex(ctx)
	if err != nil {
		return nil, err
	}
	return r.core.PutIndexes(ctx, instance, func(yield func(*pack.Pack, error) bool) {
		for o := range x.Objects {
			for l, err := range r.core.Indexes.Packs(ctx, x, o) {
				if err == nil {
					change(l.Pack)
				}
				if !yield(l.Pack, err) {
					return
				}
			}
		}
	})
}

// PutNewerIndex puts an index object of a format to come.
func (r *Repo) PutNewerIndex(ctx context.Context) (store.Name, error) {
	data, err := r.core.Log.Seal("PFINDEX\x02", []byte("what a newer version says"))
	if err != nil {
		return store.Name{}, err
	}
	return store.NameOf(data), r.core.Store.Put(ctx, store.Index.Object(store.NameOf(data)), data)
}

// PutPack puts a pack that no index object lists, for an instance, of one frame for each blob, for which its directory may
// tell lies, and with some recipients more than it needs.
func (r *Repo) PutPack(ctx context.Context, instance string, blobs [][]byte, id func(i int) chunk.ID, more int) (store.Name, error) {
	e := r.core.Log.CurrentEpoch()
	d := pack.Directory{Epoch: e.Number, Component: pack.Media}
	for i, b := range blobs {
		d.Frames = append(d.Frames, pack.Frame{Codec: pack.Raw, Stored: len(b), Blobs: []pack.Blob{{ID: id(i), Length: len(b)}}})
	}
	to := []age.Recipient{&pack.Recipient{HybridRecipient: e.DataRecipient, Instance: instance}}
	for range more {
		id, err := age.GenerateHybridIdentity()
		if err != nil {
			return store.Name{}, err
		}
		to = append(to, id.Recipient())
	}
	dir := d.Append(nil)
	plain := slices.Concat([]byte(pack.Magic), slices.Concat(blobs...), dir, binary.LittleEndian.AppendUint64(nil, uint64(len(dir))), []byte(pack.EndMagic))
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to...)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return store.Name{}, err
	}
	name := store.NameOf(out.Bytes())
	return name, r.core.Store.Put(ctx, store.Pack.Object(name), out.Bytes())
}

// ThisProcess returns what a lease of this process says of it, as JSON.
func ThisProcess() []byte {
	data, err := json.Marshal(lease.ThisProcess())
	if err != nil {
		panic(err)
	}
	return data
}

// PutLease puts a lease of the process that told describes.
func (r *Repo) PutLease(ctx context.Context, told []byte) error {
	text := lease.Text{What: "test", Started: time.Now()}
	rand.Read(text.ID[:])
	if err := json.Unmarshal(told, &text.Process); err != nil {
		return err
	}
	for i := range 2 { // the first tells the time, and goes
		body, err := json.Marshal(text)
		if err != nil {
			return err
		}
		data, err := r.core.Log.Seal(keys.KindLease, body)
		if err != nil {
			return err
		}
		var id [16]byte
		rand.Read(id[:])
		object := store.LeaseObject(id)
		if err := r.core.Store.Put(ctx, object, data); err != nil {
			return err
		}
		o, err := r.core.Store.Stat(ctx, object)
		if err != nil {
			return err
		}
		text.Before = o.Time.UTC()
		if i == 0 {
			_ = r.core.Store.Remove(ctx, object) // an append-only storage keeps it
		}
	}
	return nil
}

// Dead reports whether one process knows another one to be dead, by what they tell of themselves.
func Dead(told, from []byte) bool {
	var p, q lease.Process
	if err := errors.Join(json.Unmarshal(told, &p), json.Unmarshal(from, &q)); err != nil {
		panic(err)
	}
	return p.Dead(&q)
}

// PutNewerEntry puts an entry of a format to come under the log's next number.
func (r *Repo) PutNewerEntry(ctx context.Context) error {
	data, err := r.core.Log.Seal("PFLOGEN\x02", []byte("what a newer version says"))
	if err != nil {
		return err
	}
	return r.core.Store.Put(ctx, store.LogObject(r.core.Log.Next), data)
}

// PublishAt puts an entry into the log under a number of the signer's choice.
func (r *Repo) PublishAt(ctx context.Context, e *ledger.Entry, seq uint64) error {
	return r.PublishBehind(ctx, e, r.core.Log.Head, seq)
}

// PublishAfter puts an entry that continues from head, whatever lies below.
func (r *Repo) PublishAfter(ctx context.Context, e *ledger.Entry, head ledger.Head) error {
	return r.PublishBehind(ctx, e, head, head.Seq+1)
}

// PublishBehind puts an entry under a number of the signer's choice that continues from head.
func (r *Repo) PublishBehind(ctx context.Context, e *ledger.Entry, head ledger.Head, seq uint64) error {
	h := *r.core.Log.History
	h.Head, h.Next = head, seq
	liar := &Repo{core.New(r.core.Store, r.core.Key, new(machine.Memory), r.opts.log(), nil), r.opts}
	liar.core.Log.History = &h
	return liar.PublishRaw(ctx, e)
}

// Believe lets the next entries say that they build on something else.
func (r *Repo) Believe(lie func(*ledger.Basis)) {
	h := *r.core.Log.History
	lie(&h.Basis)
	r.core.Log.History = &h
}

// RotateTakingUp is Rotate, but that it puts the keys below keys/ for all on the list before it announces them, and takes up those
// that a rotation has left which died.
func (r *Repo) RotateTakingUp(ctx context.Context, save func(*keys.Keyring) error) ([]string, error) {
	grown := *r.Key()
	if grown.Epoch(r.core.Log.CurrentEpoch().Number+1) == nil {
		next, err := grown.NewEpoch()
		if err == nil {
			err = grown.AddEpoch(next)
		}
		if err != nil {
			return nil, err
		}
	}
	next := grown.Epoch(r.core.Log.CurrentEpoch().Number + 1)
	keys, without, err := wrapEpoch(&grown, r.core.Log.Roster.People, r.opts.Prompt)
	if err == nil {
		err = save(&grown)
	}
	for _, data := range keys {
		if err == nil {
			err = r.core.Store.Put(ctx, keyObject(data), data)
		}
	}
	if err == nil {
		err = r.core.Log.Publish(ctx, &ledger.Entry{Epoch: &ledger.EpochEntry{Number: next.Number, Signature: next.Signature, Keys: keys}}, func(*ledger.History) error { return nil })
	}
	if err == nil {
		r.core.Log.Keys = &grown
	}
	return without, err
}

// MaxBreaks is how many breaks one entry accepts.
const MaxBreaks = ledger.MaxBreaks

// PutListings puts an index object for an instance that lists one pack n times, each time with another blob.
func (r *Repo) PutListings(ctx context.Context, instance string, name store.Name, n int) ([]store.Name, error) {
	const header = 2000
	return r.core.PutIndexes(ctx, instance, func(yield func(*pack.Pack, error) bool) {
		for i := range n {
			p := &pack.Pack{Name: name, Header: header, Directory: pack.Directory{Epoch: 1, Component: pack.Media,
				Frames: []pack.Frame{{Stored: 1, Blobs: []pack.Blob{{ID: chunk.ID{1, byte(i >> 16), byte(i >> 8), byte(i)}, Length: 1}}}}}}
			plain := int64(len(pack.Magic) + len(p.Directory.Append(nil)) + 8 + len(pack.EndMagic) + 1)
			p.Size = header + plain + pack.AgeOverhead
			if !yield(p, nil) {
				return
			}
		}
	})
}

// PutBomb puts a manifest of n spaces.
func (r *Repo) PutBomb(ctx context.Context, n int) (store.Name, error) {
	data, err := r.core.Log.Seal(keys.KindManifest, pack.Compress(bytes.Repeat([]byte(" "), n)))
	if err != nil {
		return store.Name{}, err
	}
	return store.NameOf(data), r.core.Store.Put(ctx, store.Manifest.Object(store.NameOf(data)), data)
}
