package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"permafrost/cmd/permafrost/internal/console"
	"permafrost/cmd/permafrost/internal/usage"
	"permafrost/internal/hint"
	"permafrost/internal/keeper"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/lease"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

func TestExitCode(t *testing.T) {
	damage := &store.DamageError{Object: "packs/ab", Err: io.ErrUnexpectedEOF}
	for _, tt := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 1},
		{usage.Errorf("x"), 2},
		{&keeper.LeftOutError{Count: 1}, 3},
		{&keeper.AbsentError{}, 3},
		{&keeper.RefusedError{Count: 1}, 3},
		{&keeper.LostError{Blobs: 1}, 3},
		{&keeper.UnrepairedError{Lacking: true}, 3},
		{&keeper.SuspectError{Text: "x"}, 4},
		{&keeper.IncompleteError{Failed: []string{"redis"}}, 5},
		{hint.Join(&keeper.LeftOutError{Count: 1}, &keeper.IncompleteError{Secrets: true}), 5},
		{new(console.UnreportedError), 9},
		{repo.ErrNoRepository, 10},
		{&lease.LockedError{By: "x"}, 11},
		{&keys.MissingKeyError{Need: "x", For: "y"}, 12},
		{&repo.ForeignKeyError{}, 12},
		{ledger.ErrNotAllowed, 12},
		{&keys.NoKeyError{Err: errors.New("x")}, 2},
		{damage, 13},
		{&ledger.RollbackError{}, 13},
		{context.Canceled, 130},
		{errInterrupted, 130},
		{fmt.Errorf("part of it: %w", hint.Wrap(damage, "h")), 13},
		{hint.Join(&keeper.LeftOutError{Count: 1}, damage), 13},
		{errors.Join(damage, context.Canceled), 130},
		{context.DeadlineExceeded, 1},
	} {
		if got := exitCode(tt.err); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.err, got, tt.want)
		}
		if !strings.Contains("\n"+helpExitCodes, fmt.Sprintf("\n  %-4d ", tt.want)) {
			t.Errorf("code %d is not explained", tt.want)
		}
	}
}
