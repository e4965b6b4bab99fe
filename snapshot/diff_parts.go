package snapshot

import (
	"cmp"
	"maps"
	"slices"

	"permafrost/source/postgres/archive"
)

// A TableChange is what became of a table from an older snapshot to a newer one.
type TableChange struct {
	Table string
	Old   *archive.Table // nil: it is new
	New   *archive.Table // nil: it is gone
}

// DiffTables returns the tables whose rows or bytes differ, sorted by name. It reports whether both dumps were counted.
func DiffTables(a, b *Manifest) (changes []TableChange, counted bool) {
	x, y := a.Postgres.Dump.Tables, b.Postgres.Dump.Tables
	if x == nil || y == nil {
		return nil, false
	}
	for name, old := range x {
		now, ok := y[name]
		old.Offset, now.Offset = 0, 0 // a table is the same wherever the dump has it
		if !ok {
			changes = append(changes, TableChange{name, &old, nil})
		} else if now != old {
			changes = append(changes, TableChange{name, &old, &now})
		}
	}
	for name, now := range y {
		if _, ok := x[name]; !ok {
			now.Offset = 0
			changes = append(changes, TableChange{name, nil, &now})
		}
	}
	slices.SortFunc(changes, func(a, b TableChange) int { return cmp.Compare(a.Table, b.Table) })
	return changes, true
}

// A SecretChange is a secret that differs from an older snapshot to a newer one.
type SecretChange struct {
	Kind string // + for one that came, - for one that went, M for one that changed
	Name string // of a variable in .env.production, or the path of a file below secrets/
}

// DiffSecrets returns which secrets differ: generated keys by their variables, then files by their paths.
func DiffSecrets(a, b *Manifest) []SecretChange {
	files := func(m *Manifest) map[string]SHA256 {
		all := make(map[string]SHA256)
		for i := range m.Secrets.Files {
			all["secrets"+string(m.Secrets.Files[i].Path)] = m.Secrets.Files[i].SHA256
		}
		return all
	}
	return append(diffMaps(a.Secrets.Keys, b.Secrets.Keys), diffMaps(files(a), files(b))...)
}

func diffMaps[V comparable](a, b map[string]V) (changes []SecretChange) {
	names := slices.Collect(maps.Keys(a))
	names = slices.AppendSeq(names, maps.Keys(b))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		x, was := a[name]
		y, is := b[name]
		switch {
		case !was:
			changes = append(changes, SecretChange{"+", name})
		case !is:
			changes = append(changes, SecretChange{"-", name})
		case x != y:
			changes = append(changes, SecretChange{"M", name})
		}
	}
	return changes
}
