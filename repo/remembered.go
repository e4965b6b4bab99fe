package repo

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"strings"

	"permafrost/internal/hint"
)

// What this machine remembers of the log is one line in the file "head" of the state directory: the newest entry that it has
// seen, as Head.String writes it, a space, the CRC-32C of that in hexadecimal, and a newline.
const (
	headFile = "head"
	maxHead  = 256
)

func encodeHead(h Head) []byte {
	text := h.String()
	return fmt.Appendf(nil, "%s %08x\n", text, crc32.Checksum([]byte(text), castagnoli))
}

func decodeHead(data []byte) (Head, error) {
	text, _, _ := strings.Cut(string(data), " ")
	h, err := ParseHead(text)
	if err == nil && string(encodeHead(h)) != string(data) {
		err = errors.New("it is not as it was written")
	}
	if len(data) == 0 {
		err = errors.New("it is empty")
	}
	return h, err
}

// head returns the newest log entry that this machine has seen, if it has seen any.
func (l *local) head() (*Head, error) {
	data, err := l.stateFile(headFile, maxHead)
	if err != nil || data == nil {
		return nil, err
	}
	h, err := decodeHead(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.state.Path(headFile), err)
	}
	return &h, nil
}

func (l *local) rememberHead(h Head) error {
	if err := l.writeStateFile(headFile, encodeHead(h)); err != nil {
		return fmt.Errorf("remembering the newest log entry: %w", err)
	}
	return nil
}

// remembered returns the newest log entry that this machine has seen, if any. Without that a storage could take back what
// was committed, unnoticed. So where the file is spoilt the newest entry in the log's cache stands for it, which a holder of
// the keyring wrote; and where there is none either, a person has to say that the log is to be taken as the storage has it.
func (r *Repo) remembered() (*Head, error) {
	h, err := r.local.head()
	switch {
	case err == nil:
		return h, nil
	case errors.Is(err, fs.ErrPermission):
		r.note("reading the newest log entry that was seen here: %v: a storage that was rolled back would not be noticed", err)
		return nil, nil
	}
	err = fmt.Errorf("the newest log entry that this machine has seen can't be read: %w", err)
	if h := r.local.openedLog(r.key).newest(); h != nil {
		r.note("%v; the log must go on from entry %d instead, which is the newest in the cache", err, h.Seq)
		return h, nil
	}
	if r.opts.AcceptHead || r.opts.Head != nil {
		r.note("%v; what the storage has is taken for the newest", err)
		return nil, nil
	}
	return nil, hint.Wrap(err, "the file tells a storage that was rolled back; --accept-head takes the log as the storage has it, and writes the file anew")
}
