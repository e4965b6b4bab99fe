package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"

	"permafrost/internal/hint"
	"permafrost/internal/localdir"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/source"
)

// A opened is an open repository.
type opened struct {
	*repo.Repo
	closeStore func() error
}

// Close ends the connections to the storage.
func (s *opened) Close() { s.closeStore() } // nothing hangs on it: what was put is durable

// A need says which of the keys at hand a command opens the repository with.
type need int

const (
	anyKey     need = iota // the identity that was given, else the host's key
	hostKey                // the host's key, else the identity
	contentKey             // one that reads content
)

// open opens the repository.
func (a *app) open(ctx context.Context, n need) (*opened, error) {
	return a.openAt(ctx, n, nil)
}

// openAt is open with a log head noted elsewhere, which must be part of the log.
func (a *app) openAt(ctx context.Context, n need, head *ledger.Head) (*opened, error) {
	st, closeStore, err := a.openStore(ctx)
	if err != nil {
		return nil, err
	}
	return a.openOn(ctx, st, closeStore, n, head)
}

// openInstance reads the settings of an instance and opens the repository with the host's key. The storage is dialled while
// it is found out how the instance runs, which takes about as long. An error of the instance goes before one of the storage.
func (a *app) openInstance(ctx context.Context, flags *snapshotFlags) (*source.Instance, *opened, error) {
	if err := flags.check(); err != nil {
		return nil, nil, err
	}
	var (
		st         store.Store
		closeStore func() error
		errStore   error
		dialled    sync.WaitGroup
	)
	dialCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	dialled.Go(func() { st, closeStore, errStore = a.openStore(dialCtx) })
	inst, err := flags.load(ctx)
	if err != nil {
		cancel()
	}
	dialled.Wait()
	if err == nil {
		err = errStore
	} else if errStore == nil {
		closeStore()
	}
	if err != nil {
		return nil, nil, err
	}
	r, err := a.openOn(ctx, st, closeStore, hostKey, nil)
	return inst, r, err
}

// openOn is openAt on a store, which it closes where that fails.
func (a *app) openOn(ctx context.Context, st store.Store, closeStore func() error, n need, head *ledger.Head) (*opened, error) {
	r, err := a.openRepo(ctx, st, n, head)
	if err != nil {
		closeStore()
		return nil, err
	}
	for _, d := range r.Damage() {
		a.ui.Warn("the log is damaged: %v", d)
		if help := hintFor(d); help != "" {
			a.ui.Hint(help)
		}
	}
	return &opened{r, closeStore}, nil
}

func (a *app) noRepository() error {
	return fmt.Errorf("%s: %w", printable(a.repository), repo.ErrNoRepository)
}

func (a *app) openRepo(ctx context.Context, st store.Store, n need, head *ledger.Head) (*repo.Repo, error) {
	// Asked first, nobody types a passphrase for nothing.
	name, err := repo.Find(ctx, st)
	switch {
	case errors.Is(err, repo.ErrNoRepository):
		return nil, a.noRepository()
	case err != nil:
		return nil, err
	}
	id, err := a.loadKey(n)
	if err != nil {
		return nil, err
	}
	k, err := repo.Unlock(ctx, st, id, func(k *keys.Keyring) error { return a.checkFingerprint(k, false) })
	if err != nil {
		return nil, keyAdvice(err, id.Files)
	}
	if n == contentKey && !k.CanRead() {
		return nil, hint.Wrap(&keys.MissingKeyError{Need: "the owner key: the recovery file", For: "reading content"}, "say -i RECOVERY-FILE")
	}
	if id.Keyring != nil {
		if err := a.checkFingerprint(k, true); err != nil {
			return nil, err
		}
	}
	r, err := repo.Open(ctx, st, k, repo.Options{
		StateDir: a.stateDir, CacheDir: a.cacheDir, AcceptHead: a.acceptHead, Head: head, Identities: id.Identities, ID: name, Prompt: a.prompt(),
		Note: func(note string) { a.ui.Warn("%s", note) },
	})
	return r, keyAdvice(err, id.Files)
}

// keyAdvice names the files that a key was read from where it does not fit the repository, and says what to do.
func keyAdvice(err error, files string) error {
	var foreign *repo.ForeignKeyError
	var missing *keys.MissingKeyError
	switch {
	case files == "":
	case errors.As(err, &foreign):
		return hint.Wrap(fmt.Errorf("key file %s: %w", printable(files), err),
			"give this repository's own key file with -i or --writer-key, or the other repository's address with -r")
	case errors.As(err, &missing) && hintFor(err) == "":
		return hint.Wrap(fmt.Errorf("key file %s: %w", printable(files), err), "give a key that `permafrost key list` names, or the recovery file")
	}
	return err
}

// loadKey reads the key files that serve a need.
func (a *app) loadKey(n need) (*keys.Identity, error) {
	for _, path := range append([]string{a.writerKey}, a.identities...) {
		if isKeyText(path) { // not to be quoted in an error
			return nil, hint.Wrap(usagef("a key was given where a key file's name belongs"), "give the name of a file, and replace this key: other processes could read it")
		}
	}
	_, err := os.Stat(a.writerKey)
	haveWriter := a.writerKey != "" && !errors.Is(err, fs.ErrNotExist)
	switch {
	case len(a.identities) > 0 && (n != hostKey || !haveWriter):
		return a.loadIdentities()
	case !haveWriter:
		return nil, hint.Wrap(&keys.MissingKeyError{Need: "a key, and there is none at " + a.writerKey, For: "opening the repository"},
			"say -i RECOVERY-FILE or --writer-key FILE. `permafrost key add writer --name NAME --key-file FILE -i RECOVERY-FILE` replaces a lost writer file. "+
				"`permafrost init` makes a new repository with keys of its own")
	}
	return a.loadIdentity(a.writerKey)
}

// isKeyText reports whether a file's name is none but a key, or lines of a key file.
func isKeyText(path string) bool {
	upper := strings.ToUpper(path)
	return strings.Contains(upper, "AGE-SECRET-KEY-") || strings.Contains(upper, "AGE-PLUGIN-") || strings.ContainsAny(path, "\r\n")
}

// loadIdentities reads all files given as -i: a keyring, or identities that may open one.
func (a *app) loadIdentities() (*keys.Identity, error) {
	all, files := new(keys.Identity), []string(nil)
	for _, path := range a.identities {
		id, err := a.loadIdentity(path)
		if err != nil || id.Keyring != nil {
			return id, err
		}
		all.Identities = append(all.Identities, id.Identities...)
		if id.Files != "" {
			files = append(files, id.Files)
		}
	}
	all.Files = strings.Join(files, ", ")
	return all, nil
}

func (a *app) loadIdentity(path string) (*keys.Identity, error) {
	if path == passphraseWord {
		pass, err := readPassphrase("Passphrase")
		if err != nil {
			return nil, err
		}
		return keys.PassphraseIdentity(pass)
	}
	id, err := keys.LoadIdentity(path, a.prompt())
	if err != nil {
		return nil, err
	}
	if id.Warning != "" {
		a.ui.Warn("%s", id.Warning)
	}
	return id, nil
}

// A fingerprintError says that the repository's keys are not those that were expected.
type fingerprintError struct{ text string }

func (e *fingerprintError) Error() string { return e.text }

// checkFingerprint compares the keys with the fingerprint that was given or remembered. Keys from the storage must have
// one: age does not say who wrapped them, and a storage could have put its own in place. Those of a key file, which
// the storage never had, need none.
func (a *app) checkFingerprint(k *keys.Keyring, fromFile bool) error {
	got := k.Fingerprint()
	dir := a.pins(k)
	want, err := a.expectedFingerprint(dir)
	switch {
	case err != nil:
		return err
	case want == "" && !fromFile:
		return hint.Wrap(&fingerprintError{"this machine does not know the repository's fingerprint, and can't tell whether its keys are genuine"},
			"give it once with --fingerprint; the recovery file and the writer file show it")
	case want != "" && want != got:
		return hint.Wrap(&fingerprintError{fmt.Sprintf("the repository's keys have the fingerprint %s, not %s", got, want)},
			"this is another repository, or its storage has other keys than before"+a.pinned(dir))
	case want == "" || a.fingerprint == "" || dir == nil:
		return nil
	}
	if err := dir.WriteFile(pinFile, []byte(got+"\n")); err != nil {
		a.ui.Warn("the fingerprint is not remembered: %v", err)
	}
	return nil
}

const (
	pinFile = "fingerprint"
	maxPin  = 4 << 10
)

// pins returns the directory in which this machine remembers a repository's fingerprint, nil where it remembers nothing.
// Opening the repository says why.
func (a *app) pins(k *keys.Keyring) *localdir.Dir {
	if a.stateDir == "" {
		return nil
	}
	dir, err := localdir.OpenBelow(a.stateDir, store.Name(k.Repository).String()[:16])
	if err != nil {
		return nil
	}
	return dir
}

// pinned says where a fingerprint that nobody has given comes from.
func (a *app) pinned(dir *localdir.Dir) string {
	if a.fingerprint != "" || dir == nil {
		return ""
	}
	return "; or " + dir.Path(pinFile) + " is damaged: --fingerprint writes it again"
}

// expectedFingerprint returns the fingerprint that was given or is remembered in dir, or "".
func (a *app) expectedFingerprint(dir *localdir.Dir) (string, error) {
	if a.fingerprint != "" {
		f, err := keys.ParseFingerprint(a.fingerprint)
		if err != nil {
			return "", usagef("--fingerprint: %w", err)
		}
		return f, nil
	}
	if dir == nil {
		return "", nil
	}
	data, err := dir.ReadFile(pinFile, maxPin)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	var f string
	if err == nil {
		f, err = keys.ParseFingerprint(string(data))
	}
	if err != nil {
		return "", hint.Wrap(fmt.Errorf("the remembered fingerprint, %s, can't be read: %w", dir.Path(pinFile), err),
			"--fingerprint writes it again; the recovery file and the writer file show it")
	}
	return f, nil
}
