// Package hint attaches to an error what a person may do about it, and keeps errors to one line.
//
// Packages below the commands give their errors types and causes instead: the commands have the hints for these.
package hint

import (
	"errors"
	"strings"
)

type hinted struct {
	error
	text string
}

func (h *hinted) Unwrap() error { return h.error }

// Hint returns the text.
func (h *hinted) Hint() string { return h.text }

// Wrap returns err with a hint: one sentence that says what is likely wrong or what to do. The error's own
// text stays as it is.
func Wrap(err error, text string) error {
	if err == nil {
		return nil
	}
	return &hinted{err, text}
}

// Of returns the outermost hint in err's chain, or "".
func Of(err error) string {
	var h *hinted
	if errors.As(err, &h) {
		return h.text
	}
	return ""
}

// joined are errors that are told on one line.
type joined []error

func (j joined) Error() string {
	texts := make([]string, len(j))
	for i, err := range j {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (j joined) Unwrap() []error { return j }

// Join is errors.Join, with the errors behind each other on one line.
func Join(errs ...error) error {
	var some joined
	for _, err := range errs {
		if err != nil {
			some = append(some, err)
		}
	}
	if len(some) == 0 {
		return nil
	}
	return some
}
