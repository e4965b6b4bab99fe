package repo

import (
	"errors"
	"fmt"
	"io/fs"

	"permafrost/repo/cause"
	"permafrost/repo/keys"
	"permafrost/repo/ledger"
)

// rememberedHead returns the newest log entry that this machine has seen, if it has seen any.
func (r *Repo) rememberedHead() (*ledger.Remembered, error) {
	data, err := r.machine.Read(ledger.HeadFile, ledger.MaxRemembered)
	if err != nil || data == nil {
		return nil, err
	}
	s, err := ledger.DecodeRemembered(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.machine.Path(ledger.HeadFile), err)
	}
	return &s, nil
}

func (r *Repo) rememberHead(s ledger.Remembered) error {
	if err := r.machine.Write(ledger.HeadFile, s.Encode()); err != nil {
		return fmt.Errorf("remembering the newest log entry: %w", err)
	}
	return nil
}

// remembered returns the newest log entry that this machine has seen, if any. Without that a storage could take back what
// was committed, unnoticed. So where the file is spoilt the newest entry in the log's cache stands for it, which a holder of
// the keyring wrote; and where there is none either, a person has to say that the log is to be taken as the storage has it.
func (r *Repo) remembered() (*ledger.Remembered, error) {
	s, err := r.rememberedHead()
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, fs.ErrPermission):
		r.note("reading the newest log entry that was seen here: %v: a storage that was rolled back would not be noticed", err)
		return nil, nil
	}
	err = fmt.Errorf("the newest log entry that this machine has seen can't be read: %w", err)
	if s := r.openedLog(r.key).Newest(); s != nil {
		r.note("%v; the log must contain entry %d instead, the newest in the cache", err, s.Seq)
		return s, nil
	}
	if r.opts.AcceptHead || r.opts.Head != nil {
		r.note("%v; the storage's newest entry is believed", err)
		return nil, nil
	}
	return nil, &cause.Error{Cause: cause.HeadUnread, Err: err}
}

// openedLog returns what the cache has of the log: nothing where the file is missing, or not what was written.
func (r *Repo) openedLog(k *keys.Keyring) ledger.Opened {
	name, key := ledger.OpenedFile(k)
	data, ok := r.machine.Copy(name)
	if !ok {
		return nil
	}
	return ledger.DecodeOpened(data, key)
}

// keepOpened puts o into the cache.
func (r *Repo) keepOpened(k *keys.Keyring, o ledger.Opened) {
	name, key := ledger.OpenedFile(k)
	r.machine.Keep(name, o.Encode(key))
}
