package ledger

import (
	"bytes"
	"slices"

	"permafrost/repo/keys"
	"permafrost/repo/store"
)

// KeyObjects returns the objects below keys/ that the list of keys names.
func (h *History) KeyObjects() (objects []string) {
	for i := range h.People {
		for _, object := range h.People[i].Keys {
			if kind, _ := store.Parse(object); kind == store.Key {
				objects = append(objects, object)
			}
		}
	}
	return objects
}

// LastEpoch returns the newest epoch of a keyring that the log has announced. The first needs no announcement.
func (h *History) LastEpoch(k *keys.Keyring) uint32 {
	for _, e := range slices.Backward(k.Epochs) {
		if sig, ok := h.epochs[e.Number]; ok && bytes.Equal(e.Signature, sig) {
			return e.Number
		}
	}
	return 1
}

// KeysInUse returns a keyring without the epochs behind the newest that the log has announced.
func (h *History) KeysInUse(k *keys.Keyring) *keys.Keyring {
	known := *k
	known.Epochs = slices.Clone(k.Epochs[:h.LastEpoch(k)])
	return &known
}

// HasEpoch reports whether a keyring has the newest epoch that the log announces.
func (h *History) HasEpoch(k *keys.Keyring) bool {
	if h.Epoch == 0 {
		return true
	}
	e := k.Epoch(h.Epoch)
	return e != nil && bytes.Equal(e.Signature, h.epochs[h.Epoch])
}

// HasOtherInstances reports whether somebody may make snapshots of other instances than one.
func (h *History) HasOtherInstances(instance string) bool {
	return slices.ContainsFunc(h.People, func(p Person) bool { return p.Role == keys.RoleWriter && p.Instance != instance })
}

// Instances returns the names of all instances that the log knows of.
func (h *History) Instances() []string {
	var names []string
	known := map[string]bool{"": true}
	add := func(name string) {
		if !known[name] {
			known[name] = true
			names = append(names, name)
		}
	}
	for i := range h.Snapshots {
		add(h.Snapshots[i].Instance)
	}
	for i := range h.People {
		add(h.People[i].Instance)
	}
	return names
}
