package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"permafrost/source"
)

const (
	// lockWait is how long a lock of somebody else's is waited for unless Options say otherwise.
	lockWait = 15 * time.Minute

	// lockTell is how long until an administrator is told who holds it, and lockPoll how often that is looked for.
	lockTell, lockPoll = time.Minute, 5 * time.Second

	maxBlockers = 3 // that are told of
)

// A lockError says that a lock was waited for in vain.
type lockError struct {
	waited  time.Duration
	blocked string // who waits for whom
}

func (e *lockError) Error() string {
	return fmt.Sprintf("gave up waiting for a lock after %v: %s", e.waited.Round(time.Second), e.blocked)
}

// watched calls f, which may wait for locks in the database, on a connection of ours or through a child. Meanwhile another
// connection looks who holds them. Who that is, is told after a minute; after the longest wait that Options allow, f is ended
// by its context, and the error is a lockError.
func (s *Server) watched(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &lockWatch{s: s, limit: s.lockWait(), tell: min(lockTell, s.lockWait()/2)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.run(ctx, cancel)
	}()
	err := f(ctx)
	cancel(nil)
	<-done
	if err != nil && w.err != nil {
		return source.Because(CauseLocked, w.err)
	}
	return err
}

func (s *Server) lockWait() time.Duration {
	if s.opts.LockWait > 0 {
		return s.opts.LockWait
	}
	return lockWait
}

// dumpLockWait is how long pg_dump waits by itself: longer, since it can't say for whom.
func (s *Server) dumpLockWait() time.Duration { return s.lockWait() + s.lockWait()/10 + 5*time.Second }

// A lockWatch looks for locks that sessions of a Server's wait for.
type lockWatch struct {
	s           *Server
	limit, tell time.Duration
	conn        *pgx.Conn

	begin time.Time // when the wait was first seen
	told  string
	err   error
}

// run looks now and then until ctx is done, and cancels it where a wait takes too long. What keeps it from looking is no failure:
// pg_dump has a limit of its own.
func (w *lockWatch) run(ctx context.Context, cancel context.CancelCauseFunc) {
	defer func() {
		if w.conn != nil {
			closeConn(w.conn)
		}
	}()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(lockPoll, w.tell/4)):
		}
		blocked, err := w.look(ctx)
		switch {
		case err != nil && w.conn != nil:
			closeConn(w.conn)
			w.conn = nil
		case err != nil:
		case blocked == "":
			w.begin, w.told = time.Time{}, ""
		default:
			if w.waits(ctx, blocked); w.err != nil {
				cancel(w.err)
				return
			}
		}
	}
}

// waits takes note that there is a wait.
func (w *lockWatch) waits(ctx context.Context, blocked string) {
	if w.begin.IsZero() {
		w.begin = time.Now()
	}
	waited := time.Since(w.begin)
	if waited >= w.tell && blocked != w.told {
		w.told = blocked
		w.s.warn(fmt.Sprintf("waiting for a lock, %v so far and %v at most: %s", waited.Round(time.Second), w.limit, blocked))
	}
	if waited >= w.limit {
		w.err = &lockError{waited, blocked}
		// A child that is killed leaves its session waiting.
		w.conn.Exec(ctx, "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock' and application_name = any($1)", w.s.sessions())
	}
}

// sessions are the names of this Server's sessions: those of our connections, and those of pg_dump.
func (s *Server) sessions() []string { return []string{s.session, s.session + dumpSession} }

// dumpSession is behind the name of pg_dump's sessions.
const dumpSession = " pg_dump"

const locksQuery = `
select coalesce(case when l.locktype = 'relation' then 'table ' || l.relation::regclass::text end, 'a ' || l.locktype),
	b.pid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''), coalesce(a.state, ''), a.xact_start
from pg_stat_activity w join pg_locks l on l.pid = w.pid and not l.granted
	cross join unnest(pg_blocking_pids(w.pid)) b (pid) left join pg_stat_activity a on a.pid = b.pid
where w.application_name = any($1) order by a.xact_start nulls last, b.pid limit 10`

// look returns who holds the locks that are waited for, or "".
func (w *lockWatch) look(ctx context.Context) (string, error) {
	if w.conn == nil {
		conn, err := w.s.open(ctx)
		if err != nil {
			return "", err
		}
		w.conn = conn
	}
	qctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	rows, err := w.conn.Query(qctx, locksQuery, w.s.sessions())
	if err != nil {
		return "", err
	}
	var texts []string
	var b blocker
	_, err = pgx.ForEachRow(rows, []any{&b.object, &b.pid, &b.user, &b.application, &b.state, &b.begin}, func() error {
		if len(texts) < maxBlockers {
			texts = append(texts, b.String())
		}
		return checkTexts(b.object, b.user, b.application, b.state)
	})
	return strings.Join(texts, "; "), err
}

// A blocker is a session that holds a lock, or waits for it before us.
type blocker struct {
	object                   string
	pid                      int
	user, application, state string
	begin                    *time.Time // of its transaction; nil where the role may not know it
}

func (b *blocker) String() string {
	if b.pid == 0 {
		return b.object + " is locked by a prepared transaction (select * from pg_prepared_xacts)"
	}
	about := []string{"user " + b.user}
	if b.application != "" {
		about = append(about, "application "+b.application)
	}
	if b.state != "" {
		about = append(about, b.state)
	}
	if b.begin != nil {
		about = append(about, "since "+b.begin.Local().Format(time.DateTime))
	}
	return fmt.Sprintf("%s is locked by PID %d (%s)", b.object, b.pid, strings.Join(about, ", "))
}

// isLock reports whether err says that a lock was waited for in vain.
func isLock(err error) bool {
	var l *lockError
	return errors.As(err, &l)
}
