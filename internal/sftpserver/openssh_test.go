package sftpserver_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"permafrost/internal/sandbox"
	"permafrost/internal/sftpserver"
	"permafrost/internal/sftpstore"
	"permafrost/internal/sshconn"
	"permafrost/internal/storetest"
	"permafrost/repo/store"
)

// serverArg makes the test's binary the server of the directory that follows, append-only where one more word does.
const serverArg = "serve"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == serverArg {
		c := sftpserver.Config{Root: os.Args[2], AppendOnly: len(os.Args) > 3}
		if err := sftpserver.Serve(c, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Unsetenv("SSH_AUTH_SOCK")
	os.Exit(m.Run())
}

// A host is an OpenSSH server whose one key may run nothing but our server.
type host struct {
	*sandbox.SSHD
	key string // as authorized_keys has it
}

func newHost(t *testing.T) *host {
	t.Helper()
	server, err := sandbox.StartSSHD(context.Background(), t.TempDir(), sandbox.SSHDConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	h := &host{SSHD: server}
	key, err := os.ReadFile(h.authorizedKeys())
	if err != nil {
		t.Fatal(err)
	}
	h.key = string(key)
	return h
}

func (h *host) authorizedKeys() string {
	return filepath.Join(filepath.Dir(h.IdentityFile), "authorized_keys")
}

// open has the key serve a directory from now on, and opens the store there. It warns of nothing.
func (h *host) open(t *testing.T, dir, appendOnly string, channels int) *sftpstore.Store {
	t.Helper()
	self, err := os.Executable()
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		line := fmt.Sprintf("command=\"%s %s %s %s\",restrict %s", self, serverArg, dir, appendOnly, h.key)
		err = os.WriteFile(h.authorizedKeys(), []byte(line), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	st, err := sftpstore.Open(t.Context(), sftpstore.Config{
		Config: sshconn.Config{Host: h.Host, Port: h.Port, User: h.User,
			IdentityFiles: []string{h.IdentityFile}, KnownHostsFiles: []string{h.KnownHosts}, ConfigFile: "none"},
		Path: dir, Channels: channels,
		Lasting: func(text string) { t.Errorf("warning: %s", text) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// renamed is a store whose names of any shape stand below log/, where the server takes any content: numbers do, which are made
// of their hashes.
type renamed struct {
	store.Store
	names *sync.Map // by the names that they stand under
}

const below = "log/"

func (r renamed) name(name string) string {
	if !store.IsPath(name) || store.InTemp(name) {
		return name // to be refused as it is
	}
	h := sha256.Sum256([]byte(name))
	under := fmt.Sprintf("%s%010d", below, binary.BigEndian.Uint64(h[:])%1e10)
	r.names.Store(under, name)
	return under
}

func (r renamed) Put(ctx context.Context, name string, data ...[]byte) error {
	return r.Store.Put(ctx, r.name(name), data...)
}

func (r renamed) ReadAt(ctx context.Context, name string, p []byte, off int64) (int, error) {
	return r.Store.ReadAt(ctx, r.name(name), p, off)
}

func (r renamed) Stat(ctx context.Context, name string) (store.Object, error) {
	o, err := r.Store.Stat(ctx, r.name(name))
	o.Name = name
	return o, err
}

func (r renamed) Remove(ctx context.Context, name string) error {
	return r.Store.Remove(ctx, r.name(name))
}

func (r renamed) List(ctx context.Context, prefix string) iter.Seq2[store.Object, error] {
	if prefix == store.Temp+"/" || store.CheckPrefix(prefix) != nil {
		return r.Store.List(ctx, prefix)
	}
	return func(yield func(store.Object, error) bool) {
		for o, err := range r.Store.List(ctx, below) {
			if name, ok := r.names.Load(o.Name); ok {
				o.Name = name.(string)
			}
			if (err != nil || strings.HasPrefix(o.Name, prefix)) && !yield(o, err) {
				return
			}
		}
	}
}

// The store keeps its contract with this server behind OpenSSH, by one channel and by many that share objects.
func TestConformance(t *testing.T) {
	h := newHost(t)
	roots := 0
	fresh := func(appendOnly string, channels int) func(t *testing.T) store.Store {
		return func(t *testing.T) store.Store {
			roots++
			return renamed{h.open(t, filepath.Join(h.Root, fmt.Sprint(roots)), appendOnly, channels), new(sync.Map)}
		}
	}
	t.Run("append-only", func(t *testing.T) { storetest.RunAppendOnly(t, fresh("append-only", 0)) })
	t.Run("striped", func(t *testing.T) { storetest.RunAppendOnly(t, fresh("append-only", 3)) })
	t.Run("owner", func(t *testing.T) { storetest.Run(t, fresh("", 0)) })
}

func packName(data []byte) string {
	h := fmt.Sprintf("%x", sha256.Sum256(data))
	return "packs/" + h[:2] + "/" + h
}

var lease = "leases/" + strings.Repeat("1", 32)

// Uploads leave nothing behind, many at once and in stripes; leases go, and objects only for an owner.
func TestUploads(t *testing.T) {
	h := newHost(t)
	root := filepath.Join(h.Root, "repo")
	st := h.open(t, root, "append-only", 3)
	var pack string
	var wg sync.WaitGroup
	for i := range 6 {
		long := storetest.Random(uint64(i), 9<<20)
		pack = packName(long)
		wg.Go(func() {
			if err := st.Put(t.Context(), packName(long), long); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, name := range []string{"config", lease, "log/0000000000"} {
		if err := st.Put(t.Context(), name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(filepath.Join(root, "tmp")); err != nil || len(left) != 0 {
		t.Errorf("%d files are left below tmp/: %v", len(left), err)
	}
	if err := st.Remove(t.Context(), lease); err != nil {
		t.Error(err)
	}
	err := st.Remove(t.Context(), pack)
	var removal *sftpstore.CauseError
	if !errors.Is(err, fs.ErrPermission) || !errors.As(err, &removal) || removal.Cause != sftpstore.CauseNoRemoval {
		t.Errorf("removing a pack: %v", err)
	}
	for _, name := range []string{"elsewhere/x", "log/00", "packs/00/hard", "index/x", "leases/1", "keys/x.age", "other"} {
		if err := st.Put(t.Context(), name, nil); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s is put, which no object of a repository can be: %v", name, err)
		}
	}
	if free, ok, err := st.Free(t.Context()); free <= 0 || !ok || err != nil {
		t.Errorf("free: %d, %v, %v", free, ok, err)
	}
	if err := h.open(t, root, "", 0).Remove(t.Context(), pack); err != nil {
		t.Errorf("an owner: %v", err)
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if info, e := d.Info(); err == nil && (e != nil || info.Mode().Perm()&0o077 != 0) && path != root {
			t.Errorf("%s: %v, %v", path, info.Mode(), e)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
