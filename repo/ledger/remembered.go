package ledger

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

const (
	MaxRemembered       = 8 << 10 // bytes of one that is encoded
	maxBreaksRemembered = 32      // breaks that are remembered: of more, the newest
)

// Remembered is how far a machine has seen a log. A log that has that entry, and has lost what lies below it, is not the same one. Nor is one
// that is broken no more, and has lost what stood below the break: an entry's hash stands for those that it continues from.
type Remembered struct {
	Head
	Basis
	breaks []Break
}

// Remember returns how far this log goes.
func (h *History) Remember() Remembered {
	s := Remembered{Head: h.Head, Basis: h.Basis}
	for _, b := range h.Breaks {
		if b.After != h.Head {
			s.breaks = append(s.breaks, b.Break)
		}
	}
	s.breaks = s.breaks[max(0, len(s.breaks)-maxBreaksRemembered):]
	return s
}

// Encode returns one line: the newest entry that was seen, as Head.String writes it; the entries that set the list of keys and the
// epoch, and how many commit snapshots, in decimal; for each break of the log the entries below and above it, with a comma between,
// or "-" and that above; the CRC-32C of all that in hexadecimal. Spaces stand between them, and a newline at the end.
func (s Remembered) Encode() []byte {
	text := fmt.Sprintf("%v %d %d %d", s.Head, s.Roster, s.Epoch, s.Snapshots)
	for _, b := range s.breaks {
		after := noEntry
		if b.After != (Head{}) {
			after = b.After.String()
		}
		text += fmt.Sprintf(" %s,%v", after, b.At)
	}
	return fmt.Appendf(nil, "%s %08x\n", text, crc32.Checksum([]byte(text), crcTable))
}

// DecodeRemembered reads what Encode returned. Any other text is an error.
func DecodeRemembered(data []byte) (s Remembered, err error) {
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
	if err == nil && string(s.Encode()) != string(data) {
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

var crcTable = crc32.MakeTable(crc32.Castagnoli)
