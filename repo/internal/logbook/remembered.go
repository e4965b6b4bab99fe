package logbook

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"permafrost/repo/cause"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
)

// Remembered returns the newest log entry that this machine has seen, if any. Without that a storage could take back what
// was committed, unnoticed. So where the file is spoilt the newest entry in the log's cache stands for it, which a holder of
// the keyring wrote; and where there is none either, a person has to say that the log is to be taken as the storage has it.
func (b *Log) Remembered() (*ledger.Remembered, error) {
	s, err := b.rememberedHead()
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, fs.ErrPermission):
		b.opts.Note("reading the newest log entry that was seen here: %v: a storage that was rolled back would not be noticed", err)
		return nil, nil
	}
	err = fmt.Errorf("the newest log entry that this machine has seen can't be read: %w", err)
	if s := b.openedLog(b.key).Newest(); s != nil {
		b.opts.Note("%v; the log must contain entry %d instead, the newest in the cache", err, s.Seq)
		return s, nil
	}
	if b.opts.AcceptHead || b.opts.Head != nil {
		b.opts.Note("%v; the storage's newest entry is believed", err)
		return nil, nil
	}
	return nil, &cause.Error{Cause: cause.HeadUnread, Err: err}
}

// headFile is the file of the state directory that holds how far the log was seen here, as [ledger.Remembered.Encode] writes it.
const headFile = "head"

// rememberedHead returns the newest log entry that this machine has seen, if it has seen any.
func (b *Log) rememberedHead() (*ledger.Remembered, error) {
	data, err := b.machine.Read(headFile, ledger.MaxRemembered)
	if err != nil || data == nil {
		return nil, err
	}
	s, err := ledger.DecodeRemembered(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.machine.Path(headFile), err)
	}
	return &s, nil
}

func (b *Log) rememberHead(s ledger.Remembered) error {
	if err := b.machine.Write(headFile, s.Encode()); err != nil {
		return fmt.Errorf("remembering the newest log entry: %w", err)
	}
	return nil
}

// openedFile returns the name of the cache's file that holds what a keyring has opened, and the key that proves it: only who has the
// keyring's signing key can make that.
func openedFile(k *keys.Keyring) (name string, key []byte) {
	id := sha256.Sum256(k.VerifyKey())
	key, err := hkdf.Key(sha256.New, k.SignKey.Seed(), k.Repository[:], "permafrost opened log 1", sha256.Size)
	if err != nil { // only for a length that is too great
		panic(err)
	}
	return "log-" + hex.EncodeToString(id[:8]), key
}

// openedLog returns what the cache has of the log: nothing where the file is missing, or not what was written.
func (b *Log) openedLog(k *keys.Keyring) ledger.Opened {
	name, key := openedFile(k)
	data, ok := b.machine.Copy(name)
	if !ok {
		return nil
	}
	return ledger.DecodeOpened(data, key)
}

// keepOpened puts o into the cache.
func (b *Log) keepOpened(k *keys.Keyring, o ledger.Opened) {
	name, key := openedFile(k)
	b.machine.Keep(name, o.Encode(key))
}

// CheckHead compares the log with the newest entry that this machine, or a person, remembers.
func (b *Log) CheckHead(remembered *ledger.Remembered) error {
	all := []*ledger.Remembered{remembered}
	if b.opts.Head != nil {
		all = append(all, &ledger.Remembered{Head: *b.opts.Head})
	}
	for _, s := range all {
		if s == nil || b.opts.AcceptHead {
			continue
		}
		if lost := b.Lacks(s, b.key.VerifyKey()); lost != nil {
			return lost
		}
	}
	if now, err := b.rememberedHead(); err == nil && now != nil && now.Seq > b.Head.Seq && !b.opts.AcceptHead {
		return nil // what another process here has seen since then is newer
	}
	if err := b.rememberHead(b.Remember()); err != nil {
		b.opts.Note("%v: a storage that is rolled back to before it will not be noticed here", err)
	}
	return nil
}
