// Package hints says what to do about an error. Its tables lead from the typed errors of the packages below the commands to what an
// administrator types or looks at next. Those packages know nothing of flags and commands.
//
// A hint that was given where an error arose (permafrost/internal/hint) goes before a table's, and the outermost before those of what
// it wraps. docs/errors.md lists the tables.
package hints

import (
	"fmt"
	"slices"
	"strings"
	"syscall"

	"permafrost/internal/escape"
	"permafrost/repo/cause"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// A rule gives the hint for an error, looking at that error alone and not at those that it wraps; "" where it has none.
type rule func(err error) string

// is gives the hint for one error.
func is(target error, hint string) rule {
	return func(err error) string {
		if err == target {
			return hint
		}
		return ""
	}
}

// as gives the hint for errors of a type.
func as[T error](hint func(T) string) rule {
	return func(err error) string {
		if e, ok := err.(T); ok {
			return hint(e)
		}
		return ""
	}
}

// because gives the hint for errors with a cause.
func because(c cause.Cause, hint string) rule {
	return as(func(e *cause.Error) string { return only(e.Cause == c, tell(hint, e.Facts)) })
}

// withheld gives the hint for a right that the list of keys does not give.
func withheld(r ledger.Right, hint string) rule {
	return as(func(e *ledger.NotAllowedError) string { return only(e.Right == r, hint) })
}

func only(fits bool, hint string) string {
	if fits {
		return hint
	}
	return ""
}

// tell puts facts into a hint: {1} is the first and {} are all; {$1} and {$} are the same as words of a command.
func tell(hint string, facts []string) string {
	words := make([]string, len(facts))
	for i, f := range facts {
		words[i] = escape.Shell(f)
	}
	pairs := []string{"{}", strings.Join(facts, ", "), "{$}", strings.Join(words, " ")}
	for i, f := range facts {
		pairs = append(pairs, fmt.Sprintf("{%d}", i+1), f, fmt.Sprintf("{$%d}", i+1), words[i])
	}
	return strings.NewReplacer(pairs...).Replace(hint)
}

// rules are the hints for what can go wrong below the commands, which knows nothing of them. docs/errors.md lists them.
func rules() []rule {
	return slices.Concat(repositoryRules(), keyRules(), storageRules(), sourceRules(), snapshotRules())
}

// lastRules are for errors of which nothing else says what to do.
func lastRules() []rule {
	return []rule{
		is(store.ErrNoSpace, "free space with `permafrost forget` and `permafrost prune`: both work on a full storage"),
		is(syscall.EROFS, "look at the mount options of the storage's file system, and whether its disk fails"),
	}
}

// For returns the hint of an error: the outermost that was given where it arose, or that the tables have; "" where there is none.
func For(err error) string { return search(err, rules()) }

// Last returns the hint that is told with the error with which a command ends. It is For's, or one for what went wrong below everything
// else, such as a full disk.
func Last(err error) string {
	if h := For(err); h != "" {
		return h
	}
	return search(err, lastRules())
}

// search goes through an error and what it wraps, the outermost first.
func search(err error, rules []rule) string {
	if err == nil {
		return ""
	}
	if h, ok := err.(interface{ Hint() string }); ok {
		return h.Hint()
	}
	for _, r := range rules {
		if h := r(err); h != "" {
			return h
		}
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return search(e.Unwrap(), rules)
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			if h := search(err, rules); h != "" {
				return h
			}
		}
	}
	return ""
}
