package repo

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"time"

	"permafrost/repo/store"
)

// verified remembers on this machine which pack was read and found right, and when, so that a check of all content can
// be spread over nights. It is a file of records of 45 bytes, appended as packs are read: the pack's name, the time
// (seconds since 1970, signed, little-endian as all here), 1 where it was decrypted or 0 where only its hash was compared, and the
// CRC-32C of these. The last record of a pack counts; what is torn or flipped is passed over, and costs a reading. So does
// what a second check beside this one remembers.
type verified struct {
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

// openVerified reads what is remembered of the given packs, and drops the rest. Where that fails too it returns one to
// work with.
func (l *local) openVerified(packs []*indexedPack) (*verified, error) {
	v := &verified{last: make(map[store.Name]verification)}
	if l.state == nil {
		return v, nil
	}
	const name = "verified"
	data, err := l.stateFile(name, maxVerified)
	if err != nil {
		return v, fmt.Errorf("reading which packs are verified: %w", err)
	}
	all := parseVerified(data)
	var kept []byte
	for _, p := range packs {
		if r, ok := all[p.name]; ok && v.last[p.name] == (verification{}) {
			v.last[p.name] = r
			kept = appendVerified(kept, p.name, r)
		}
	}
	if err := l.state.WriteFile(name, kept); err != nil {
		return v, fmt.Errorf("writing which packs are verified: %w", err)
	}
	if v.f, err = l.state.OpenFile(name, os.O_WRONLY|os.O_APPEND); err != nil {
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

// add remembers that a pack was found right. Where that fails the pack is read again another night.
func (v *verified) add(pack store.Name, r verification) {
	if v.f != nil {
		v.f.Write(appendVerified(nil, pack, r))
	}
}

// when returns the time of a pack's last verification of that depth, 0 where there is none. One of the future tells of
// a wrong clock, and does not count.
func (v *verified) when(pack store.Name, deep bool, now time.Time) int64 {
	r := v.last[pack]
	if deep && !r.deep || r.at > now.Unix() {
		return 0
	}
	return r.at
}

// due returns the packs that were not verified within maxAge, those first whose turn is longest ago; 0 means all.
func (v *verified) due(packs []*indexedPack, deep bool, maxAge time.Duration, now time.Time) []*indexedPack {
	packs = slices.DeleteFunc(packs, func(p *indexedPack) bool {
		return maxAge > 0 && v.when(p.name, deep, now) > now.Add(-maxAge).Unix()
	})
	slices.SortStableFunc(packs, func(a, b *indexedPack) int {
		return cmp.Compare(v.when(a.name, deep, now), v.when(b.name, deep, now))
	})
	return packs
}

func (v *verified) close() {
	if v.f != nil {
		v.f.Close()
	}
}
