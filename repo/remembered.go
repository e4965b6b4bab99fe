package repo

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"strconv"
	"strings"
)

// What this machine remembers of the log is one line in the file "head" of the state directory: the newest entry that it has
// seen, as Head.String writes it; the entries that set the list of keys and the epoch, and how many commit snapshots, in
// decimal; for each break of the log the entries below and above it, with a comma between, or "-" and that above; the CRC-32C of
// all that in hexadecimal. Spaces stand between them, and a newline at the end.
const (
	headFile      = "head"
	maxHead       = 8 << 10
	maxBreaksSeen = 32 // breaks that are remembered: of more, the newest
)

// seen is how far a log was seen. A log that has that entry, and has lost what lies below it, is not the same one. Nor is one
// that is broken no more, and has lost what stood below the break: an entry's hash stands for those that it continues from.
type seen struct {
	Head
	Basis
	breaks []Break
}

// seen returns how far this log goes.
func (h *history) seen() seen {
	s := seen{Head: h.head, Basis: h.basis}
	for _, b := range h.breaks {
		if b.After != h.head {
			s.breaks = append(s.breaks, b.Break)
		}
	}
	s.breaks = s.breaks[max(0, len(s.breaks)-maxBreaksSeen):]
	return s
}

func (s seen) encode() []byte {
	text := fmt.Sprintf("%v %d %d %d", s.Head, s.Roster, s.Epoch, s.Snapshots)
	for _, b := range s.breaks {
		after := noEntry
		if b.After != (Head{}) {
			after = b.After.String()
		}
		text += fmt.Sprintf(" %s,%v", after, b.At)
	}
	return fmt.Appendf(nil, "%s %08x\n", text, crc32.Checksum([]byte(text), castagnoli))
}

func decodeSeen(data []byte) (s seen, err error) {
	fields := strings.Fields(string(data))
	if len(fields) < 5 {
		return s, errors.New("it is cut, or empty")
	}
	s.Head, err = ParseHead(fields[0])
	for _, text := range fields[4 : len(fields)-1] {
		b, breakErr := parseBreak(text)
		s.breaks, err = append(s.breaks, b), cmp.Or(err, breakErr)
	}
	for i, n := range []*uint64{&s.Roster, &s.Epoch, &s.Snapshots} {
		var numberErr error
		*n, numberErr = strconv.ParseUint(fields[1+i], 10, 64)
		err = cmp.Or(err, numberErr)
	}
	if err == nil && string(s.encode()) != string(data) {
		err = errors.New("it is not as it was written")
	}
	return s, err
}

// noEntry stands for the entry below a break where the log's beginning is lost.
const noEntry = "-"

func parseBreak(text string) (b Break, err error) {
	after, at, _ := strings.Cut(text, ",")
	if after != noEntry {
		b.After, err = ParseHead(after)
	}
	var atErr error
	b.At, atErr = ParseHead(at)
	return b, cmp.Or(err, atErr)
}

// head returns the newest log entry that this machine has seen, if it has seen any.
func (l *local) head() (*seen, error) {
	data, err := l.stateFile(headFile, maxHead)
	if err != nil || data == nil {
		return nil, err
	}
	s, err := decodeSeen(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.state.Path(headFile), err)
	}
	return &s, nil
}

func (l *local) rememberHead(s seen) error {
	if err := l.writeStateFile(headFile, s.encode()); err != nil {
		return fmt.Errorf("remembering the newest log entry: %w", err)
	}
	return nil
}

// remembered returns the newest log entry that this machine has seen, if any. Without that a storage could take back what
// was committed, unnoticed. So where the file is spoilt the newest entry in the log's cache stands for it, which a holder of
// the keyring wrote; and where there is none either, a person has to say that the log is to be taken as the storage has it.
func (r *Repo) remembered() (*seen, error) {
	s, err := r.local.head()
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, fs.ErrPermission):
		r.note("reading the newest log entry that was seen here: %v: a storage that was rolled back would not be noticed", err)
		return nil, nil
	}
	err = fmt.Errorf("the newest log entry that this machine has seen can't be read: %w", err)
	if s := r.local.openedLog(r.key).newest(); s != nil {
		r.note("%v; the log must contain entry %d instead, the newest in the cache", err, s.Seq)
		return s, nil
	}
	if r.opts.AcceptHead || r.opts.Head != nil {
		r.note("%v; the storage's newest entry is believed", err)
		return nil, nil
	}
	return nil, &CauseError{CauseHeadUnread, err}
}
