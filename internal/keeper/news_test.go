package keeper

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"permafrost/repo"
	"permafrost/repo/inspection"
	"permafrost/repo/lease"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/snapshot/backup"
)

// A deaf observer hears nothing.
type deaf struct{}

func (deaf) Phase(Phase)   {}
func (deaf) Found(Finding) {}
func (deaf) Tell(Message)  {}

// A lock is waited for as long as was said, and a prune that came between costs one more run.
func TestPatiently(t *testing.T) {
	locked := &lease.LockedError{By: "another"}
	for _, tt := range []struct {
		name     string
		patience time.Duration
		answers  []error
		want     error
		took     time.Duration
	}{
		{"done at once", 0, []error{nil}, nil, 0},
		{"no patience", 0, []error{locked}, locked, 0},
		{"free in time", time.Minute, []error{locked, locked, nil}, nil, 2 * lockPoll},
		{"never free", 3 * lockPoll, []error{locked, locked, locked, locked}, locked, 3 * lockPoll},
		{"pruned once", 0, []error{repo.ErrPruned, nil}, nil, 0},
		{"pruned again", 0, []error{repo.ErrPruned, repo.ErrPruned}, repo.ErrPruned, 0},
		{"broken", time.Minute, []error{io.ErrUnexpectedEOF}, io.ErrUnexpectedEOF, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin, calls := time.Now(), 0
				err := patiently(t.Context(), tt.patience, deaf{}, func() error {
					calls++
					return tt.answers[calls-1]
				})
				if !errors.Is(err, tt.want) || calls != len(tt.answers) || time.Since(begin) != tt.took {
					t.Errorf("%v after %d calls and %v", err, calls, time.Since(begin))
				}
			})
		})
	}
}

// What components report one after the other adds up, and a second try begins anew.
func TestMeter(t *testing.T) {
	var heard []Phase
	m := newMeter(&listener{phase: func(p Phase) { heard = append(heard, p) }}, map[string]int64{"media": 7})
	m.Start("media", -1)
	m.Add("media", 1, 5)
	m.Add("media", 2, 6)
	m.Done("media")
	m.Start("media", 9)
	want := []Phase{
		{Name: "media", Total: 7, About: true},
		{Name: "media", Files: 1, Done: 5, Total: 7, About: true},
		{Name: "media", Files: 3, Done: 11, Total: 7, About: true},
		{Name: "media", Files: 3, Done: 11, Total: 7, About: true, Ended: true},
		{Name: "media", Total: 9},
	}
	if fmt.Sprint(heard) != fmt.Sprint(want) {
		t.Errorf("heard %v, want %v", heard, want)
	}
}

// A listener hears phases.
type listener struct {
	deaf
	phase func(Phase)
}

func (l *listener) Phase(p Phase) { l.phase(p) }

// A finding says which object and which part it is about, as far as its error does.
func TestFinding(t *testing.T) {
	damage := &store.DamageError{Object: "packs/1f", Err: errors.New("is missing")}
	for name, c := range map[string]struct {
		err          error
		object, part string
	}{
		"nothing":     {errors.New("x"), "", ""},
		"an object":   {fmt.Errorf("reading: %w", damage), "packs/1f", ""},
		"a part":      {&inspection.PartError{Part: "redis", Err: errors.New("x")}, "", "redis"},
		"both":        {&ledger.SnapshotError{Err: &inspection.PartError{Part: "media/a", Err: damage}}, "packs/1f", "media/a"},
		"a warning":   {&backup.PartError{Part: "redis", Err: errors.New("x")}, "", "redis"},
		"a component": {&backup.FailedError{Component: "redis", Text: "x", Err: damage}, "packs/1f", "redis"},
	} {
		if f := finding(Notable, c.err); f.Object != c.object || f.Part != c.part || f.Severity != Notable {
			t.Errorf("%s: %+v", name, f)
		}
	}
}
