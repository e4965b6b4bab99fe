package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"permafrost/internal/fuzzing"
	"permafrost/repo/keys"
	"permafrost/repo/keys/keystest"
	"permafrost/repo/store"
)

// sampleEntries are log entries of each kind.
func sampleEntries(k, writer *keys.Keyring) []Entry {
	id := func(manifest store.Name, by *keys.Keyring) store.Name {
		return SnapshotID(manifest, by.VerifyKey(), "social.example")
	}
	return []Entry{
		{Roster: &RosterEntry{[]Person{{Name: "web1", Role: keys.RoleWriter, Instance: "social.example", VerifyKey: writer.VerifyKey(), Keys: []string{"keys/a.age"}}}}},
		{Snapshot: &SnapshotEntry{Manifest: store.Name{1}, Indexes: []store.Name{{2}}, SnapshotInfo: SnapshotInfo{Instance: "social.example", Host: "web1", Date: "2026-06-27", Tags: []string{"a"}}}},
		{Snapshot: &SnapshotEntry{Manifest: store.Name{3}, Indexes: []store.Name{{4}}, SnapshotInfo: SnapshotInfo{Instance: "social.example"}}},
		{Forget: &ForgetEntry{Snapshots: []store.Name{id(store.Name{1}, writer)}, Records: []Record{{Instance: "social.example", Through: 2, Doubts: []TimesDoubt{{id(store.Name{3}, k), "says so"}}, Clock: time.Hour}}}},
		{Confirm: &ConfirmEntry{Snapshots: []store.Name{id(store.Name{3}, k)}}},
		{Prune: &PruneEntry{Packs: []store.Name{{5}}, Indexes: []store.Name{{2}}, Manifests: []store.Name{{1}}, Added: []store.Name{{6}}}},
		{Damage: &DamageEntry{[]store.Name{{7}}}},
		{Epoch: &EpochEntry{2, k.CurrentEpoch().Signature, nil}},
		{Accept: &AcceptEntry{[]Break{{Head{1, store.Name{8}}, Head{3, store.Name{9}}}, {At: Head{4, store.Name{7}}}}}},
	}
}

func encodeEntry(t testing.TB, e *Entry) []byte {
	t.Helper()
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzLogEntry(f *testing.F) {
	k := storedKeys(f, "recovery.txt")
	var seeds [][]byte
	for i, e := range sampleEntries(k, k) {
		if e.Time = time.Unix(1_780_000_000, 0).UTC(); i > 0 {
			e.Seq, e.Prev = uint64(i), &Head{uint64(i - 1), store.Name{8}}
		}
		seeds = append(seeds, encodeEntry(f, &e))
	}
	fuzzing.Seed(f, func(b []byte) error { _, err := parseEntry(b); return err }, seeds...)
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := parseEntry(body)
		if err != nil {
			return
		}
		text := encodeEntry(t, e)
		again, err := parseEntry(text)
		if err != nil || !bytes.Equal(encodeEntry(t, again), text) {
			t.Errorf("%s\n is read again as %+v, %v", text, again, err)
		}
	})
}

// FuzzLog reads a log whose entries are lines of the input, each behind a letter: 'o', 'w' or 's' for the owner, the writer or a
// stranger who signs it, in capitals to have it continue from the entry before.
func FuzzLog(f *testing.F) {
	stranger, err := keys.NewOwner()
	if err != nil {
		f.Fatal(err)
	}
	l := fuzzLog{storedKeys(f, "recovery.txt"), storedKeys(f, "writer.txt"), stranger}
	stranger.Repository = l.owner.Repository
	var good []byte
	for i, e := range sampleEntries(l.owner, l.writer) {
		good = append(append(append(good, "OWOOOOOOO"[i]), encodeEntry(f, &e)...), '\n')
	}
	fuzzing.Seed(f, func(b []byte) error {
		if h := l.read(f, b); len(h.Snapshots.All) != 2 || len(h.Snapshots.Live()) != 1 || len(h.Roster.People) != 1 || h.Epochs.Newest != 2 || len(h.Requests)+len(h.Problems()) > 0 {
			return errors.Join(h.Problems()...)
		}
		return nil
	}, good)
	f.Add([]byte(strings.ToLower(string(good))))
	f.Add(bytes.ReplaceAll(good, []byte("\nO"), []byte("\nW")))
	f.Add(bytes.ReplaceAll(good, []byte("\nO"), []byte("\nS")))
	f.Fuzz(func(t *testing.T, script []byte) { l.check(t, l.read(t, script), script) })
}

type fuzzLog struct{ owner, writer, stranger *keys.Keyring }

// read makes a log of a script's lines, a few of them, and reads it.
func (l *fuzzLog) empty() *History {
	h := New(l.owner)
	h.Lenient = true
	return h
}

// read takes a script's lines one after the other.
func (l *fuzzLog) read(t testing.TB, script []byte) *History {
	h := l.empty()
	var entries []OpenedEntry
	var kept []*History
	var at []uint64
	for i, line := range bytes.SplitN(script, []byte("\n"), 10) {
		if len(line) == 0 || i == 9 {
			continue
		}
		by := map[byte]*keys.Keyring{'O': l.owner, 'W': l.writer}[line[0]&^0x20]
		if by == nil {
			by = l.stranger
		}
		body := line[1:]
		if e := new(Entry); line[0]&0x20 == 0 && json.Unmarshal(body, e) == nil {
			if e.Seq, e.Prev = h.Next, nil; !h.Empty {
				head := h.Head
				e.Prev = &head
			}
			e.On = h.Basis
			body = encodeEntry(t, e)
		}
		stored, err := by.Seal(l.owner.CurrentEpoch(), keys.KindEntry, body)
		if err != nil {
			t.Fatal(err)
		}
		entries, kept = append(entries, OpenEntry((*keys.Keyring).Unseal, l.owner, stored)), append(kept, h)
		at = append(at, h.Next)
		h = h.Clone()
		h.Take(at[len(at)-1], entries[len(at)-1])
	}
	// A history stays what it is, whatever its clones take.
	again := l.empty()
	for i := range kept {
		if !reflect.DeepEqual(kept[i], again) {
			t.Errorf("%q: what line %d has found is another one now:\n%+v\n%+v", script, i, kept[i], again)
		}
		again.Take(at[i], entries[i])
	}
	return h
}

// check demands that what the log says was said by one who may.
func (l *fuzzLog) check(t *testing.T, h *History, script []byte) {
	if !bytes.ContainsAny(script, "oO") && (len(h.Roster.People) > 0 || len(h.Snapshots.All) > 0 || h.Epochs.Newest > 0 || !h.Empty) {
		t.Errorf("without the owner there are %d people, %d snapshots, epoch %d", len(h.Roster.People), len(h.Snapshots.All), h.Epochs.Newest)
	}
	if len(h.Snapshots.Live()) > len(h.Snapshots.All) || len(h.Snapshots.ids) != len(h.Snapshots.All) || !h.Empty && h.Head.Seq >= h.Next {
		t.Errorf("%d live snapshots of %d, head %d, next %d", len(h.Snapshots.Live()), len(h.Snapshots.All), h.Head.Seq, h.Next)
	}
	for seq, name := range h.Hashes {
		if seq > h.Head.Seq || seq == h.Head.Seq && name != h.Head.Hash {
			t.Errorf("entry %d is valid, the head is %v", seq, h.Head)
		}
	}
}

// FuzzNames reads what people copy from one command's output into another's input.
func FuzzNames(f *testing.F) {
	k := storedKeys(f, "recovery.txt")
	for _, s := range []string{Head{42, store.Name{1}}.String(), store.Name{0xab}.String(), k.Fingerprint(), strings.ToUpper(k.Fingerprint())} {
		f.Add(s)
	}
	if _, err := keys.ParseFingerprint(k.Fingerprint()); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if h, err := ParseHead(s); err == nil {
			if again, err := ParseHead(h.String()); err != nil || again != h {
				t.Errorf("head %q reads as %v, and that as %v, %v", s, h, again, err)
			}
		}
		if n, err := store.ParseName(s); err == nil && n.String() != s {
			t.Errorf("name %q reads as %v", s, n)
		}
		if p, err := keys.ParseFingerprint(s); err == nil {
			if again, err := keys.ParseFingerprint(p); err != nil || again != p {
				t.Errorf("fingerprint %q reads as %q, and that as %q, %v", s, p, again, err)
			}
		}
	})
}

// storedKeys returns a keyring that is the same in every process, as a corpus that was found with it needs it.
func storedKeys(tb testing.TB, file string) *keys.Keyring {
	tb.Helper()
	return keystest.Read(tb, "../keys/testdata/"+file)
}
