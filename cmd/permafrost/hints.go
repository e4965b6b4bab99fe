package main

import (
	"errors"
	"syscall"

	"permafrost/repo"
)

// advised returns err with a hint where its kind asks for the same in every command, unless it has one.
func advised(err error) error {
	if errors.Is(err, repo.ErrNoSpace) {
		return withHint(err, "free room with `permafrost forget` and `permafrost prune`: both work on a full storage")
	}
	if errors.Is(err, syscall.EROFS) {
		return withHint(err, "the storage's file system is read-only: see whether it was mounted so, or whether its disk fails")
	}
	return err
}
