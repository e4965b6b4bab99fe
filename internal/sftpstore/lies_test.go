package sftpstore

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"permafrost/chunk"
	"permafrost/internal/dirstore"
	"permafrost/internal/sandbox"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// lies is how often the server of TestLiesAtRandom lies: make soak LIES=10000.
var lies = flag.Int64("lies", 150, "lies of the server that lies at random")

// A server answers yes to any operation but stat and read, by chance, and does nothing: open to write, write, link, remove,
// making a directory. No snapshot is ever acknowledged that is not there, and none is lost that was. What is stored fits one
// write each, so that no lie leaves the right size with wrong bytes, which is for a check to find.
func TestLiesAtRandom(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	quirks := sandbox.NewLies(0.1, seed)
	server, err := sandbox.StartQuirky(t.TempDir(), quirks)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop() })
	c := config(server)
	c.Lasting, c.RetryBudget = func(string) {}, time.Second
	l := newLied(t, c.Path)
	var st *Store
	for n := 0; quirks.Lies() < *lies; n++ {
		if n%50 == 0 { // a store learns of its server, once
			if st != nil {
				st.Close()
			}
			if st, err = Open(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		l.night(st, n)
		if t.Failed() {
			break
		}
	}
	st.Close()
	l.whole()
	t.Logf("seed %d, %d lies: %d snapshots acknowledged, %d refused", seed, quirks.Lies(), len(l.acknowledged), l.refused)
	if len(l.acknowledged) == 0 || l.refused == 0 {
		t.Error("there is nothing to be seen by that")
	}
}

// lied is a repository on a server that lies, and what is known of it.
type lied struct {
	t            *testing.T
	honest       store.Store // the same repository, by the server's disk
	owner        *keys.Keyring
	writer       *keys.Keyring
	options      repo.Options          // of the host that makes snapshots
	seen         repo.Options          // of the machine that looks for them
	acknowledged map[store.Name][]byte // content by snapshot
	refused      int
}

const liedInstance = "lied.example"

func newLied(t *testing.T, dir string) *lied {
	t.Helper()
	honest, err := dirstore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	owner, err := keys.NewOwner()
	if err != nil {
		t.Fatal(err)
	}
	writer, err := owner.NewWriter("host")
	if err == nil {
		err = repo.Init(t.Context(), honest, owner, writer, repo.InitOptions{Instance: liedInstance})
	}
	if err != nil {
		t.Fatal(err)
	}
	machine := func() repo.Options {
		dir := t.TempDir()
		return repo.Options{StateDir: filepath.Join(dir, "state"), CacheDir: filepath.Join(dir, "cache")}
	}
	return &lied{t: t, honest: honest, owner: owner, writer: writer, acknowledged: make(map[store.Name][]byte), options: machine(), seen: machine()}
}

// night makes a snapshot by way of a server, and where that is acknowledged looks for it.
func (l *lied) night(st store.Store, n int) {
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	content := make([]byte, 4000)
	rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%032d", n)))).Read(content)
	ref, err := l.snapshot(ctx, st, content)
	if err != nil {
		l.refused++
		return
	}
	l.acknowledged[ref.ID] = content
	l.look(l.seen, map[store.Name][]byte{ref.ID: content})
}

func (l *lied) snapshot(ctx context.Context, st store.Store, content []byte) (ref ledger.SnapshotRef, err error) {
	r, err := repo.Open(ctx, st, l.writer, l.options)
	if err != nil {
		return ref, err
	}
	w, err := r.NewWriter(ctx, liedInstance)
	if err != nil {
		return ref, err
	}
	defer w.Abort()
	id := w.Sum(repo.Media, content)
	if _, err := w.Add(ctx, repo.Media, id, content); err != nil {
		return ref, err
	}
	text, err := json.Marshal(id.String())
	if err != nil {
		return ref, err
	}
	now := time.Now()
	return w.Commit(ctx, text, ledger.SnapshotInfo{Instance: liedInstance, Host: "host", Date: now.Format(time.DateOnly), Time: now})
}

// look reads snapshots from the disk.
func (l *lied) look(o repo.Options, want map[store.Name][]byte) {
	l.t.Helper()
	ctx := l.t.Context()
	r, err := repo.Open(ctx, l.honest, l.owner, o)
	if err != nil {
		l.t.Fatal(err)
	}
	found := 0
	for _, ref := range r.Snapshots() {
		content, ok := want[ref.ID]
		if !ok {
			continue
		}
		found++
		if err := readBack(ctx, r, ref, content); err != nil {
			l.t.Errorf("snapshot %s was acknowledged: %v", ref.ID.Short(), err)
		}
	}
	if found != len(want) {
		l.t.Errorf("of %d snapshots that were acknowledged %d are listed", len(want), found)
	}
}

func readBack(ctx context.Context, r *repo.Repo, ref ledger.SnapshotRef, content []byte) error {
	text, err := r.Manifest(ctx, ref)
	if err != nil {
		return err
	}
	var name string
	if err := json.Unmarshal(text, &name); err != nil {
		return err
	}
	id, err := chunk.ParseID(name)
	if err != nil {
		return err
	}
	rd, err := r.NewReader(ctx, liedInstance)
	if err != nil {
		return err
	}
	return rd.Fetch(ctx, []chunk.ID{id}, func(_ chunk.ID, data []byte) error {
		if !bytes.Equal(data, content) {
			return fmt.Errorf("%d other bytes come back", len(data))
		}
		return nil
	})
}

// whole reads all that was ever acknowledged.
func (l *lied) whole() {
	l.t.Helper()
	l.look(repo.Options{}, l.acknowledged)
}
