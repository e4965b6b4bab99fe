package main

import (
	"errors"

	"permafrost/repo"
)

// advised returns err with a hint where its kind asks for the same in every command, unless it has one.
func advised(err error) error {
	if errors.Is(err, repo.ErrNoSpace) {
		return withHint(err, "free room with `permafrost forget` and `permafrost prune`: both work on a full storage")
	}
	return err
}
