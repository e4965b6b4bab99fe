package ledger

import (
	"bytes"
	"crypto/ed25519"
	"maps"
	"slices"

	"permafrost/repo/keys"
	"permafrost/repo/store"
)

// A Scope is what a signer could speak for when an entry was published.
type Scope struct {
	Owner  bool
	Person Person
}

// Serves reports whether the signer spoke for an instance.
func (s Scope) Serves(instance string) bool {
	return s.Owner || instance != "" && s.Person.Role == keys.RoleWriter && s.Person.Serves(instance)
}

// MayForget reports whether the signer could forget, prune and confirm.
func (s Scope) MayForget() bool {
	return s.Owner || s.Person.Role == keys.RoleWriter && s.Person.MayForget
}

// concerns reports whether two signers may speak for the same instance.
func (s Scope) concerns(other Scope) bool {
	return s.Owner || other.Owner || s.Serves(other.Person.Instance) || other.Serves(s.Person.Instance) ||
		s.Person.Instance == "" && other.Person.Instance == ""
}

// A Roster is the list of keys: who may say what in the log.
type Roster struct {
	People []Person
	Seq    uint64            // of the entry that set People
	owner  ed25519.PublicKey // signs as the owner, whatever People says
	ever   map[string]Person // all that were on the list ever, by verify key
}

// set replaces the list. Who was on it stays known.
func (r *Roster) set(people []Person, seq uint64) {
	r.People, r.Seq = people, seq
	for _, p := range people {
		r.ever[string(p.VerifyKey)] = p
	}
}

func (r *Roster) clone() Roster {
	c := *r
	c.ever = maps.Clone(r.ever)
	return c
}

// person returns the list's entry for a writer's verify key.
func (r *Roster) person(key []byte) (Person, bool) {
	i := slices.IndexFunc(r.People, func(p Person) bool { return p.Role == keys.RoleWriter && bytes.Equal(p.VerifyKey, key) })
	if i < 0 {
		return Person{}, false
	}
	return r.People[i], true
}

// Scope returns what a key may speak for now.
func (r *Roster) Scope(key ed25519.PublicKey) Scope {
	p, _ := r.person(key)
	return Scope{r.owner.Equal(key), p}
}

// everScope returns what a key may speak for, or could when it was last on the list.
func (r *Roster) everScope(key ed25519.PublicKey) Scope {
	return Scope{r.owner.Equal(key), r.ever[string(key)]}
}

// Known reports whether a signer is the owner or on the list.
func (r *Roster) Known(signer ed25519.PublicKey) bool {
	_, ok := r.person(signer)
	return ok || r.owner.Equal(signer)
}

// KeyObjects returns the objects below keys/ that the list names.
func (r *Roster) KeyObjects() (objects []string) {
	for i := range r.People {
		for _, object := range r.People[i].Keys {
			if kind, _ := store.Parse(object); kind == store.Key {
				objects = append(objects, object)
			}
		}
	}
	return objects
}

// HasOtherInstances reports whether somebody may make snapshots of other instances than one.
func (r *Roster) HasOtherInstances(instance string) bool {
	return slices.ContainsFunc(r.People, func(p Person) bool { return p.Role == keys.RoleWriter && p.Instance != instance })
}
