package repo

import (
	"bytes"
	"slices"

	"permafrost/repo/keys"
	"permafrost/repo/store"
)

// keyObjects returns the objects below keys/ that the list of keys names.
func (h *history) keyObjects() (objects []string) {
	for i := range h.people {
		for _, object := range h.people[i].Keys {
			if kind, _ := store.Parse(object); kind == store.Key {
				objects = append(objects, object)
			}
		}
	}
	return objects
}

// lastKnown returns the newest epoch of a keyring that the log has announced. The first needs no announcement.
func (h *history) lastKnown(k *keys.Keyring) uint32 {
	for _, e := range slices.Backward(k.Epochs) {
		if sig, ok := h.epochs[e.Number]; ok && bytes.Equal(e.Signature, sig) {
			return e.Number
		}
	}
	return 1
}

// inUse returns a keyring without the epochs behind the newest that the log has announced.
func (h *history) inUse(k *keys.Keyring) *keys.Keyring {
	known := *k
	known.Epochs = slices.Clone(k.Epochs[:h.lastKnown(k)])
	return &known
}

// announced reports whether a keyring has the newest epoch that the log announces.
func (h *history) announced(k *keys.Keyring) bool {
	if h.epoch == 0 {
		return true
	}
	e := k.Epoch(h.epoch)
	return e != nil && bytes.Equal(e.Signature, h.epochs[h.epoch])
}

// hasOthers reports whether somebody may make snapshots of other instances than one.
func (h *history) hasOthers(instance string) bool {
	return slices.ContainsFunc(h.people, func(p Person) bool { return p.Role == keys.RoleWriter && p.Instance != instance })
}

// instances returns the names of all instances that the log knows of.
func (h *history) instances() []string {
	var names []string
	known := map[string]bool{"": true}
	add := func(name string) {
		if !known[name] {
			known[name] = true
			names = append(names, name)
		}
	}
	for i := range h.snapshots {
		add(h.snapshots[i].Instance)
	}
	for i := range h.people {
		add(h.people[i].Instance)
	}
	return names
}
