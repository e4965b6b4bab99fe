package sftpstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"permafrost/internal/sshconn"
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
	// wordTime is how long something may be waited for before a person is told, and wordsApart how long after that the next
	// word comes.
	wordTime   = 2 * time.Second
	wordsApart = time.Minute
)

// do runs f on a session, and again on another one where the connection is lost. f must be fit to be done twice.
func (s *Store) do(ctx context.Context, f func(context.Context, *session) error) error {
	return s.retry(ctx, time.Time{}, s.config.RetryBudget, f)
}

// retry is do with a budget of its own, which counts from trouble on, or where that is zero from the first failure.
func (s *Store) retry(ctx context.Context, trouble time.Time, budget time.Duration, f func(context.Context, *session) error) error {
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
			return unknownHost(err)
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
		if now.Sub(trouble) >= wordTime {
			s.waiting(fmt.Sprintf("trying again to reach %s: %v", s.config.Host, err))
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

// unknownHost gives the cause to an error that says that a host's name has no address.
func unknownHost(err error) error {
	if dns := (*net.DNSError)(nil); errors.As(err, &dns) && !explained(err) {
		return because(CauseUnknownHost, err)
	}
	return err
}

func giveUp(err error, after time.Duration, attempts int) error {
	cause := CauseNoContact
	if attempts > 1 {
		cause, err = CauseUnreachable, fmt.Errorf("gave up after %v and %d attempts: %w", after.Round(100*time.Millisecond), attempts, err)
	}
	if explained(err) {
		return err
	}
	return because(cause, err)
}

// once runs f on a session. again tells that the fault lay with the connection.
func (s *Store) once(ctx context.Context, f func(context.Context, *session) error) (err error, again bool) {
	word := time.AfterFunc(wordTime, func() { s.waiting(fmt.Sprintf("waiting for an answer of %s", s.config.Host)) })
	sess, release, err := s.pool.acquire(ctx)
	word.Stop()
	if err != nil {
		return err, !permanent(err) && !errors.Is(err, errClosed) && !s.isNowhere(err)
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
		case <-time.After(s.grace):
			sess.line.kill()
			err = <-done
		}
	}
	if err != nil && context.Cause(ctx) == errOverdue {
		return becausef(CauseOverdue, "%w within %v", errOverdue, s.patience), false
	}
	return err, sess.lost(err)
}

// waiting tells what is waited for, now and then.
func (s *Store) waiting(text string) {
	now, last := time.Now().UnixNano(), s.waited.Load()
	if now-last >= int64(wordsApart) && s.waited.CompareAndSwap(last, now) {
		s.config.Waiting(text)
	}
}

// isNowhere reports whether nobody knows the host's name, which has led nowhere yet: once it has, that may pass.
func (s *Store) isNowhere(err error) bool {
	var dns *net.DNSError
	return s.progress.Load() == 0 && errors.As(err, &dns) && dns.IsNotFound && !dns.IsTemporary
}

// A permanentError is one that trying again can't mend.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

func permanent(err error) bool {
	var p permanentError
	return errors.As(err, &p) || sshconn.Permanent(err)
}

// errOverdue says that a server kept on answering without coming to an end.
var errOverdue = errors.New("the server answers and does not finish")
