package index

import (
	"errors"
	"sync"
)

// A tableError says that a local table is not what was written. The index that is built next does without it.
type tableError struct {
	table *table
	err   error
}

func (e *tableError) Error() string { return "the local index is damaged: " + e.err.Error() }
func (e *tableError) Unwrap() error { return e.err }

// A tableDamage hears of damage to the tables of an index.
type tableDamage struct {
	files *tableFiles
	note  func() // called once
	mu    sync.Mutex
	any   bool
}

// at drops a table and returns why.
func (d *tableDamage) at(t *table, err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files.drop(t)
	if !d.any {
		d.any = true
		d.note()
	}
	return &tableError{t, err}
}

func (d *tableDamage) found() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.any
}

// IsTableDamage reports whether an error comes of a local table that is not what was written.
func IsTableDamage(err error) bool {
	var t *tableError
	return errors.As(err, &t)
}
