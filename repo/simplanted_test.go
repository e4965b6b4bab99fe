package repo_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"permafrost/repo"
	"permafrost/repo/ledger"
)

// heads returns the entries of the log as a branch has them.
func (h *hostileHistory) heads(b *simBranch) (heads []ledger.Head, err error) {
	for _, name := range h.entries(b) {
		head, err := ledger.ParseHead(fmt.Sprintf("%s:%x", strings.TrimPrefix(name, "log/"), sha256.Sum256(h.storage.bytes(b, name))))
		if err != nil {
			return nil, err
		}
		heads = append(heads, head)
	}
	return heads, nil
}

// entries returns the objects of the log that lie within reach, by their numbers.
func (h *hostileHistory) entries(b *simBranch) []string {
	all := h.storage.list(b, "log/0000000")
	slices.Sort(all)
	return all
}

// nextNumber is the one behind the log's last object within reach.
func (h *hostileHistory) nextNumber(b *simBranch) (n uint64) {
	all := h.entries(b)
	if len(all) > 0 {
		_, _ = fmt.Sscanf(all[len(all)-1], "log/%d", &n)
	}
	return n + 1
}

func hashed(dir string, data []byte) string {
	sum := sha256.Sum256(data)
	hash := hex.EncodeToString(sum[:])
	switch dir {
	case "packs":
		return "packs/" + hash[:2] + "/" + hash
	case "keys":
		return "keys/" + hash + ".age"
	}
	return dir + "/" + hash
}

// plants is what somebody does who has a connection that may put, and no key.
func (h *hostileHistory) plants() {
	b, n := h.branch(), h.fate.IntN(12)
	junk := fmt.Appendf(nil, "junk %d", h.fate.IntN(1000))
	next := h.nextNumber(b)
	put := func(name string, data []byte) { h.storage.plant(b, name, data) }
	h.sched.Tell(fmt.Sprintf("somebody plants: %d", n))
	switch n {
	case 0, 1:
		for i := range 1 + h.fate.IntN(3) {
			put(number(next+uint64(i)), junk)
		}
	case 2:
		put(number(next+1+uint64(h.fate.IntN(60))), junk)
	case 3:
		put([]string{number(next + 101), number(5000), number(9_999_999), number(9_999_999_999)}[h.fate.IntN(4)], junk)
	case 4:
		for _, dir := range []string{"packs", "index", "manifests", "keys"} {
			put(hashed(dir, junk), junk)
		}
	case 5:
		for _, dir := range []string{"packs", "index", "manifests", "keys"} {
			put(hashed(dir, junk), append(junk, 1))
		}
	case 6:
		put(number(next), h.storage.bytes(b, h.pick(b, "log/")))
	case 7:
		if name := h.pick(b, "packs/"); name != "" {
			data := h.storage.bytes(b, name)
			put(hashed("index", data), data)
			put(hashed("manifests", data), data)
		}
	case 8:
		put(hashed("keys", h.forgedKeys), h.forgedKeys)
	case 9:
		put(fmt.Sprintf("leases/%032x", h.fate.Uint64()), junk)
		if name := h.pick(b, "leases/"); name != "" {
			put(fmt.Sprintf("leases/%032x", h.fate.Uint64()), h.storage.bytes(b, name))
		}
	case 10:
		put("log/zzz", junk)
		put("packs/00/hard", junk)
		put("keys/00.age", junk)
	case 11:
		put(fmt.Sprintf("tmp/%d", h.fate.IntN(1000)), junk)
	}
}

// intrude is what somebody makes of an upload who can write to it.
func (h *hostileHistory) intrude(name string, data []byte) []byte {
	if !h.outsider || !strings.HasPrefix(name, "packs/") || h.fate.IntN(4) > 0 {
		return data
	}
	data = slices.Clone(data)
	data[len(data)/2] ^= 1
	h.sched.Tell("somebody writes to an upload")
	return data
}

// spoils is what a storage does to objects that are named by their content.
func (h *hostileHistory) spoils() {
	dir := []string{"packs/", "packs/", "packs/", "index/", "manifests/", "keys/"}[h.fate.IntN(6)]
	name, how := h.pick(h.main, dir), h.fate.IntN(5)
	if name == "" {
		return
	}
	h.sched.Tell(fmt.Sprintf("the storage spoils something below %s: %d", dir, how))
	data := slices.Clone(h.storage.bytes(h.main, name))
	switch how {
	case 0:
		h.storage.spoil(h.main, name, nil)
	case 1, 2:
		data[len(data)-1-h.fate.IntN(min(len(data), 200))] ^= 1
		h.storage.spoil(h.main, name, data)
	case 3:
		h.storage.spoil(h.main, name, h.storage.bytes(h.main, h.pick(h.main, dir)))
	case 4: // what machines have removed comes back
		for old := range h.storage.ever {
			if _, there := (*h.main)[old]; !there && strings.HasPrefix(old, dir) {
				(*h.main)[old] = h.storage.first(old)
			}
		}
	}
}

// loses is what a storage does to the log: it leaves entries out, or shows others in their place; and those who hold keys help.
func (h *hostileHistory) loses() {
	all, how := h.entries(h.main), h.fate.IntN(6)
	if len(all) < 3 {
		return
	}
	from := 1 + h.fate.IntN(len(all)-1)
	to := min(from+1+h.fate.IntN(3), len(all))
	if h.fate.IntN(4) > 0 { // the newest one is shown
		to = min(to, len(all)-1)
	}
	h.sched.Tell(fmt.Sprintf("the storage loses entries %d to %d of %d: %d", from, to, len(all), how))
	for i := from; i < to; i++ {
		switch how {
		case 0:
			h.storage.spoil(h.main, all[i], []byte("junk"))
		case 1:
			h.storage.spoil(h.main, all[i], h.storage.bytes(h.main, all[len(all)-1-i%len(all)]))
		default:
			h.storage.spoil(h.main, all[i], nil)
		}
	}
	for _, v := range []*villain{h.evil, h.left} {
		if v == nil || v == h.left && h.is(v.name) != "off" || how < 3 {
			continue
		}
		v.do(villainy{"accepts what was lost", "", func(ctx context.Context, v *villain, r *repo.Repo) error { return v.accepts(ctx, r) }})
	}
}

// forks is what a storage does that shows different histories to different machines.
func (h *hostileHistory) forks() {
	machines, how := []*simMachine{h.host, h.second, h.other, h.admin}, h.fate.IntN(5)
	m := machines[h.fate.IntN(4)]
	h.sched.Tell(fmt.Sprintf("the storage forks: %s %d", m.name, how))
	if h.forked == nil {
		b := maps.Clone(*h.main)
		h.forked = &b
	}
	other := map[*simBranch]*simBranch{h.main: h.forked, h.forked: h.main}[m.at]
	switch how {
	case 0, 1: // a machine sees the other history from now on
		m.at = other
	case 2: // the log as it was
		all := h.entries(m.at)
		for _, name := range all[max(1, len(all)-1-h.fate.IntN(3)):] {
			delete(*m.at, name)
		}
	case 3: // what only the others have seen, too
		for name, v := range *other {
			if _, there := (*m.at)[name]; !there {
				(*m.at)[name] = v
			}
		}
	case 4: // entries of the others in the place of its own
		for _, name := range h.entries(other) {
			if h.fate.IntN(2) == 0 {
				(*m.at)[name] = (*other)[name]
			}
		}
	}
}
