package machine

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"
	"os"
	"slices"
	"time"

	"permafrost/repo/store"
)

// Verified remembers which packs were read and found right, and when, so that a check of all content can be spread over
// nights. It is for one goroutine at a time.
type Verified struct {
	f    *os.File // nil: nothing is remembered
	last map[store.Name]verification
}

type verification struct {
	at   int64
	deep bool
}

const (
	verifiedRecord = 32 + 8 + 1 + 4
	maxVerified    = 256 << 20 // bytes of the file: more is not ours
)

// Verified returns what is remembered of the given packs, and drops the rest. Where it fails it returns one to work with, too.
func (m *Memory) Verified(packs iter.Seq[store.Name]) (*Verified, error) {
	v := &Verified{last: make(map[store.Name]verification)}
	if m.state == nil {
		return v, nil
	}
	const file = "verified"
	data, err := m.Read(file, maxVerified)
	if err != nil {
		return v, fmt.Errorf("reading which packs are verified: %w", err)
	}
	all := parseVerified(data)
	var kept []byte
	for p := range packs {
		if r, ok := all[p]; ok && v.last[p] == (verification{}) {
			v.last[p] = r
			kept = appendVerified(kept, p, r)
		}
	}
	if err := m.Write(file, kept); err != nil {
		return v, fmt.Errorf("writing which packs are verified: %w", err)
	}
	if v.f, err = m.state.OpenFile(file, os.O_WRONLY|os.O_APPEND); err != nil {
		return v, fmt.Errorf("writing which packs are verified: %w", err)
	}
	return v, nil
}

func parseVerified(data []byte) map[store.Name]verification {
	all := make(map[store.Name]verification, len(data)/verifiedRecord)
	for rec := range slices.Chunk(data, verifiedRecord) {
		if len(rec) < verifiedRecord || crc32.Checksum(rec[:41], castagnoli) != binary.LittleEndian.Uint32(rec[41:]) {
			continue
		}
		all[store.Name(rec[:32])] = verification{int64(binary.LittleEndian.Uint64(rec[32:])), rec[40] == 1}
	}
	return all
}

func appendVerified(b []byte, pack store.Name, r verification) []byte {
	start := len(b)
	b = append(b, pack[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.at))
	deep := byte(0)
	if r.deep {
		deep = 1
	}
	b = append(b, deep)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// Add remembers that a pack was found right at a time: deep says that it was decrypted. Where that fails the pack is read again
// another night.
func (v *Verified) Add(pack store.Name, deep bool, at time.Time) {
	if v.f != nil {
		v.f.Write(appendVerified(nil, pack, verification{at.Unix(), deep}))
	}
}

// When returns the time of a pack's last verification, in whole seconds; the zero time where there is none. With deep one counts only
// where the pack was decrypted. One behind now tells of a wrong clock, and does not count.
func (v *Verified) When(pack store.Name, deep bool, now time.Time) time.Time {
	r, ok := v.last[pack]
	if !ok || deep && !r.deep || r.at > now.Unix() {
		return time.Time{}
	}
	return time.Unix(r.at, 0)
}

// Close ends the use of v.
func (v *Verified) Close() {
	if v.f != nil {
		v.f.Close()
	}
}
