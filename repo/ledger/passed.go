package ledger

import (
	"crypto/ed25519"
	"slices"

	"permafrost/repo/keys"
)

// A passed entry is signed and stands in the log's place, and the log leaves it out.
type passed struct {
	prev *Head
	by   Scope // that its signer had at any time
}

// passOver notes an entry that the log leaves out, if it is one.
func (h *History) passOver(at Head, o OpenedEntry) {
	if o.Err != nil {
		return
	}
	if e, err := o.entry(); err == nil && e.Seq == at.Seq {
		h.passed[at] = passed{e.Prev, h.Roster.everScope(o.Signer)}
	}
}

// A writer may leave numbers of the log free and sign entries above them. To whom reads these first, one of them goes on from a lost
// one: the log is broken there, and the newest above the break is remembered. An honest entry then takes a number below, and leaves them
// out. Nothing was lost by that, and the storage is not to blame: all that was seen is still there. The writer is to blame, and so this
// goes for one whose entries do not concern whoever remembers them: among those of the own instance an acknowledged snapshot may be.

// isLeftOut reports whether an entry that was valid above a break of a log that was seen is left out by now, and is still there with
// all that was valid between the break and it; me is the key that remembers it.
func (h *History) isLeftOut(at Head, s *Remembered, me ed25519.PublicKey) bool {
	mine := h.Roster.everScope(me)
	if !mine.Owner && mine.Person.Role != keys.RoleWriter {
		return false // the log does not know this key: it may be an old one
	}
	for {
		p, there := h.passed[at]
		switch {
		case !there || mine.concerns(p.by):
			return false
		case s.wentOnAt(at):
			return true
		case p.prev == nil || p.prev.Seq >= at.Seq:
			return false
		}
		at = *p.prev
	}
}

// wentOnAt reports whether a log that was seen went on with an entry behind a break.
func (s *Remembered) wentOnAt(at Head) bool {
	return slices.ContainsFunc(s.breaks, func(b Break) bool { return b.At == at })
}

// has reports whether an entry is valid in this log.
func (h *History) has(at Head) bool {
	hash, ok := h.Hashes[at.Seq]
	return ok && hash == at.Hash
}

// Covers reports whether this log builds on no less than the log that s remembers. me is this machine's verify key: where the log
// leaves out what it has signed, the snapshots that s counts are not compared.
func (h *History) Covers(s *Remembered, me ed25519.PublicKey) bool {
	on := s.Basis
	if !h.has(s.Head) && h.isLeftOut(s.Head, s, me) {
		on.Snapshots = 0
	}
	return h.Basis.covers(on)
}

// Lacks returns an error if this log has lost something of the log that s remembers, else nil. me is this machine's verify key: what
// it has signed and the log leaves out is not lost.
func (h *History) Lacks(s *Remembered, me ed25519.PublicKey) *RollbackError {
	valid := []Head{s.Head}
	for _, b := range s.breaks {
		if b.After != (Head{}) {
			valid = append(valid, b.After)
		}
	}
	for _, e := range valid {
		if !h.has(e) && !h.isLeftOut(e, s, me) {
			return &RollbackError{Remembered: e, Found: h.Head}
		}
	}
	if !h.Covers(s, me) {
		return &RollbackError{Remembered: s.Head, Found: h.Head, Lost: s.Basis.String()}
	}
	return nil
}
