package sftpstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"permafrost/internal/hint"
)

const (
	firstDelay = 50 * time.Millisecond // before trying again; doubled each time
	lastDelay  = 30 * time.Second
	// cancelGrace is how long an operation may take to end by itself once its context is done. After that its
	// connection is cut, since the operation still holds the caller's buffer.
	cancelGrace = 2 * time.Second
	// operationTime is how long one attempt at an operation may take, which is what 64 MiB take as one of 16 over a line of
	// 48 KiB/s. A server may say something all the time and never come to an end.
	operationTime = 6 * time.Hour
	// maxAttempts ends what breaks the connection each time, however well everything else goes.
	maxAttempts = 50
)

// do runs f on a session, and again on another one where the connection is lost. f must be fit to be done twice.
func (s *Store) do(ctx context.Context, f func(context.Context, *session) error) error {
	return s.retry(ctx, s.config.RetryBudget, f)
}

func (s *Store) retry(ctx context.Context, budget time.Duration, f func(context.Context, *session) error) error {
	var trouble time.Time // since when
	delay := firstDelay
	for attempt := 1; ; attempt++ {
		err, again := s.once(ctx, f)
		if err == nil {
			s.progressed()
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !again {
			return err
		}
		now := time.Now()
		if trouble.IsZero() {
			trouble = now
		}
		since := trouble
		if p := time.Unix(0, s.progress.Load()); p.After(since) {
			since = p // bytes move, or others get through
		}
		if now.Sub(since)+delay > budget || attempt == maxAttempts {
			return giveUp(err, now.Sub(trouble), attempt)
		}
		select {
		case <-time.After(delay/2 + rand.N(delay/2+1)):
		case <-ctx.Done():
			return ctx.Err()
		}
		delay = min(2*delay, lastDelay)
	}
}

// progressed notes that the server took, or gave, something. Over a slow line an operation may take longer than the budget.
func (s *Store) progressed() { s.progress.Store(time.Now().UnixNano()) }

func giveUp(err error, after time.Duration, attempts int) error {
	err = fmt.Errorf("gave up after %v and %d attempts: %w", after.Round(100*time.Millisecond), attempts, err)
	if hint.Of(err) != "" {
		return err
	}
	return hint.Wrap(err, "see whether the server is up and this host can reach it; a run that is started again goes on where this one stopped")
}

// once runs f on a session. again tells that the fault lay with the connection.
func (s *Store) once(ctx context.Context, f func(context.Context, *session) error) (err error, again bool) {
	sess, release, err := s.pool.acquire(ctx)
	if err != nil {
		return err, !permanent(err) && !errors.Is(err, errClosed)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.patience, errOverdue)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := f(ctx, sess)
		release()
		done <- err
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		select {
		case err = <-done:
		case <-time.After(cancelGrace):
			sess.line.kill()
			err = <-done
		}
	}
	if err != nil && context.Cause(ctx) == errOverdue {
		return hint.Wrap(fmt.Errorf("%w within %v", errOverdue, s.patience),
			"look at the server and at the line to it; a run that is started again goes on where this one stopped"), false
	}
	return err, sess.lost(err)
}

// errOverdue says that a server kept on answering without coming to an end.
var errOverdue = errors.New("the server answers and does not finish")
