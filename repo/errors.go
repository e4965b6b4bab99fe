package repo

import (
	"errors"
	"fmt"

	"permafrost/repo/internal/machine"
	"permafrost/repo/store"
)

var (
	// ErrNoRepository says that the storage holds no repository.
	ErrNoRepository = errors.New("no repository there")

	// ErrRepositoryExists says that the storage holds a repository already, where one was to be made.
	ErrRepositoryExists = errors.New("there is a repository already")

	// ErrPruned says that while a snapshot was being made a prune removed what it references. Nothing of
	// it was committed, and another run will succeed.
	ErrPruned = errors.New("a prune removed data that this snapshot references, while it was being made")
)

// A ForeignKeyError says that a key is of one repository, and was used to open another one.
type ForeignKeyError struct{ Key, Repository store.Name }

func (e *ForeignKeyError) Error() string {
	return fmt.Sprintf("the key is of repository %s…, and this is repository %s…", e.Key.Short(), e.Repository.Short())
}

// A StateFileError says that a file in which this machine remembers something can't be opened.
type StateFileError = machine.FileError
