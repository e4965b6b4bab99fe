package ledger

import (
	"bytes"
	"iter"
	"maps"
	"slices"

	"permafrost/repo/store"
)

// Scopes are the signers who said the same thing. Each is noted once, however often it says so: what a reader does for an
// object is bounded by those who may speak of it.
type Scopes []Scope

// With returns s with a further scope. It leaves s as it was.
func (s Scopes) With(by Scope) Scopes {
	if slices.ContainsFunc(s, by.equal) {
		return s
	}
	return append(slices.Clip(s), by) // other histories may share it
}

// equal reports whether two scopes are of one signer with the same rights.
func (s Scope) equal(o Scope) bool {
	p, q := &s.Person, &o.Person
	return s.Owner == o.Owner && bytes.Equal(p.VerifyKey, q.VerifyKey) && p.Role == q.Role && p.Instance == q.Instance && p.MayForget == q.MayForget
}

// An IndexRef is an index object that the log names, and the signers who vouched for it by naming it.
type IndexRef struct {
	Name store.Name
	by   Scopes
}

// An IndexList holds the index objects that the log names. Each operation takes as long whatever the list's length: a writer can
// name as many as it likes.
type IndexList struct {
	refs []IndexRef // in the order they were added; one that was dropped has no name
	at   map[store.Name]int
}

// Add notes that somebody vouches for an index object.
func (l *IndexList) Add(name store.Name, by Scope) {
	if i, ok := l.at[name]; ok {
		l.refs[i].by = l.refs[i].by.With(by)
		return
	}
	if l.at == nil {
		l.at = make(map[store.Name]int)
	}
	l.at[name] = len(l.refs)
	l.refs = append(l.refs, IndexRef{name, Scopes{by}})
}

// drop takes an index object off the list.
func (l *IndexList) drop(name store.Name) {
	i, ok := l.at[name]
	if !ok {
		return
	}
	delete(l.at, name)
	l.refs[i] = IndexRef{}
	if len(l.refs) < 2*len(l.at)+64 {
		return
	}
	kept := make([]IndexRef, 0, 2*len(l.at))
	for r := range l.All() {
		l.at[r.Name] = len(kept)
		kept = append(kept, r)
	}
	l.refs = kept
}

// Vouchers returns who vouches for an index object.
func (l *IndexList) Vouchers(name store.Name) Scopes {
	if i, ok := l.at[name]; ok {
		return l.refs[i].by
	}
	return nil
}

// MayDrop reports whether a signer's prune may name an index object: not one that anybody has named for others, whoever did so
// first.
func (l *IndexList) MayDrop(by Scope, name store.Name) bool {
	return by.Owner || !slices.ContainsFunc(l.Vouchers(name), func(s Scope) bool { return s.Owner || !by.Serves(s.Person.Instance) })
}

func (l *IndexList) clone() IndexList { return IndexList{slices.Clone(l.refs), maps.Clone(l.at)} }

// All yields the list in the order it was added to.
func (l *IndexList) All() iter.Seq[IndexRef] {
	return func(yield func(IndexRef) bool) {
		for _, r := range l.refs {
			if !r.Name.IsZero() && !yield(r) {
				return
			}
		}
	}
}

func (l *IndexList) Len() int { return len(l.at) }
