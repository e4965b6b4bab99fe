package hints

import (
	"errors"
	"fmt"
	"testing"

	"permafrost/internal/hint"
	"permafrost/repo"
	"permafrost/repo/cause"
)

// A hint that was given where an error arose goes before one by its kind; of several that are joined the first counts.
func TestHintOrder(t *testing.T) {
	inner := fmt.Errorf("a: %w", repo.ErrNoRepository)
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{errors.New("x"), ""},
		{inner, "check the repository's address; `permafrost init` makes a new one"},
		{hint.Wrap(inner, "mine"), "mine"},
		{hint.Wrap(errors.Join(errors.New("x"), inner), "mine"), "mine"},
		{errors.Join(errors.New("x"), inner), "check the repository's address; `permafrost init` makes a new one"},
		{&cause.Error{Cause: cause.LogDamaged, Err: &cause.Error{Cause: cause.LostEpoch, Err: inner}}, "run `permafrost key rotate` with the newest recovery file"},
	} {
		if got := For(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}
