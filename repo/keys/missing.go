package keys

import "fmt"

// A MissingKeyError says that the key at hand can't do what was asked, and which could.
type MissingKeyError struct {
	Need string // "the owner key (the recovery file)"
	For  string // what it is needed for
}

func (e *MissingKeyError) Error() string { return fmt.Sprintf("%s needs %s", e.For, e.Need) }
