// Package sftpstore keeps a repository's objects on an SFTP server. How it gets to the server is package sshconn's.
//
// # Objects
//
// An object is a file of its own name below the repository's path. It is written below tmp/, made durable by
// fsync@openssh.com, and published by hardlink@openssh.com, which fails where the name is taken; then tmp's name goes,
// and the directory is made durable, as OpenSSH lets a directory be opened and fsynced. A crash leaves a file below
// tmp/ at most. An account that may not remove keeps tmp's name, a second one of the same file.
//
// SSH_FXP_RENAME publishes only where there are no hard links and a trial before the first Put shows that it refuses a
// name that is taken: many servers overwrite. A server with neither is refused.
//
// No answer is taken for a deed. The first link, or rename, counts once the object was read back: some servers answer yes
// and do nothing. A temporary file has to have its size before it gets its name. Some servers give it one only when its
// handle is closed, so that the handle is closed first there.
//
// The protocol says "failure" where a name is taken and where the disk is full. So the name is looked at, then the
// free space (statvfs@openssh.com).
//
// # Round trips
//
// Counted in requests that wait for the one before, to OpenSSH's server:
//
//	Put      5: open, every stripe at once; write, pipelined; fsync; link; remove and, beside it, fsync of the directory.
//	         The directory is opened beside the first; where it has to be made that is hidden behind the upload
//	ReadAt   2: open; read, pipelined. The handle is closed in the background
//	Stat     1
//	Remove   2: remove, the directory being opened beside it; fsync of the directory
//	List     2 and one for each 100 names, directories side by side
//	Open     SSH's own, and 3: channel, SFTP's greeting, limits@openssh.com
//
// # Faults
//
// A lost connection is made anew and what was under way is done again, for as long as Config.RetryBudget allows. Bytes that
// move restore the budget. Where Put then finds its name taken it compares: its own content is success. A server's process
// that ends by itself before it greets is not started again. A server that keeps on answering without coming to an end is
// given up after six hours.
//
// What a server says is bounded. A directory is read page by page, on the library's connection but past the library, which
// would keep all of it: names that no object can have are passed over, and a directory, and a listing, has an end. Packets
// have 256 KiB at most, and what a server says about a failure 1 KiB.
package sftpstore

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"permafrost/internal/sshconn"
	"permafrost/repo/store"
)

// A Store is a store.Store on an SFTP server.
type Store struct {
	config   Config
	pool     *pool
	rtt      time.Duration
	clock    func() time.Time // on the wall: it goes on while we are suspended
	patience time.Duration    // with one attempt at an operation
	grace    time.Duration    // for an attempt to end by itself once its context is done
	progress atomic.Int64     // when bytes moved, or an operation succeeded, last; Unix nanoseconds

	known     sync.Map     // directories whose names are durable
	spread    sync.Map     // sync.Once by a directory that others were made in all at once
	noDirSync atomic.Bool  // the server refuses to fsync directories
	dirSynced atomic.Bool  // it did so at least once
	keepsTemp atomic.Bool  // it refuses to remove: uploads' names stay
	published atomic.Int32 // how: untried, byLink or byRename

	closesFirst atomic.Bool // a file has no name there before its handle is closed

	reopening sync.Mutex
	reopened  *bool // whether a file can be opened a second time; nil: not tried

	told   sync.Map     // texts of lasting
	waited atomic.Int64 // when Waiting heard something last; Unix nanoseconds
}

var _ store.Store = (*Store)(nil)

// openBudget is how long Open tries again where the server can't be reached: long enough for a hiccup, short enough
// for a person who mistyped a name. It is less than one attempt may take: what listens on a wrong port and says nothing is
// waited for once.
const openBudget = 10 * time.Second

// Open connects to the server. The directory need not exist: the first Put makes it.
func Open(ctx context.Context, c Config) (*Store, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("opening SFTP repository: %w", err)
	}
	c.setDefaults()
	dialer, err := sshconn.NewDialer(c.Config)
	if err != nil {
		return nil, fmt.Errorf("opening SFTP repository: %w", err)
	}
	if dialer.ByCommand() && c.Channels == 0 {
		c.Channels = 1 // each is a process and a connection
	}
	s := &Store{config: c, pool: newPool(&c, dialer.Dial), clock: func() time.Time { return time.Now().Round(0) }, patience: operationTime, grace: cancelGrace}
	var rtt time.Duration
	err = s.retry(ctx, time.Now(), min(openBudget, c.RetryBudget, c.DialTimeout), func(_ context.Context, sess *session) error {
		rtt = sess.rtt
		if !sess.fsync {
			s.lasting("the server does not offer fsync@openssh.com: a power cut right after a run may lose stored objects")
		}
		return nil
	})
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("opening %s: %w", c, err)
	}
	if s.config.Channels == 0 {
		s.pool.grow(rtt)
	}
	s.rtt = rtt
	return s, nil
}

// RoundTrip implements store.Store: it returns how long the server took to answer the first question.
func (s *Store) RoundTrip() time.Duration { return s.rtt }

// Close ends the connections. Operations under way fail.
func (s *Store) Close() error {
	s.pool.close()
	return nil
}

// String returns the place in the form that Parse reads.
func (s *Store) String() string { return s.config.String() }

// path returns where the object is kept.
func (s *Store) path(name string) (string, error) {
	if err := store.CheckPath(name); err != nil {
		return "", err
	}
	return path.Join(s.config.Path, name), nil
}

// lasting tells each text once.
func (s *Store) lasting(text string) {
	if _, told := s.told.LoadOrStore(text, true); !told {
		s.config.Lasting(text)
	}
}

var errReserved = errors.New("the name is reserved")
