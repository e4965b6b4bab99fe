// Package hint attaches to an error what a person may do about it.
package hint

import "errors"

type hinted struct {
	error
	text string
}

func (h *hinted) Unwrap() error { return h.error }

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
