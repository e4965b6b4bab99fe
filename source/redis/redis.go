// Package redis reads the Redis of a Mastodon instance: facts to judge a restore by, and the data set as an
// RDB, the format of Redis's own dump.rdb.
//
// The RDB comes from a BGSAVE whose file is then read, where that file is on this host and readable, and
// otherwise over the replication protocol, as a replica gets it. Either way Redis forks once, and meanwhile
// needs memory for what changes, as it does for each of its own saves. An RDB is only taken for whole with
// its magic, its end mark and its checksum.
//
// A process of root connects as the user that Mastodon runs as, and reads the file that a Redis names with the
// rights of the user that runs it: a server of somebody's choice has no file of root's read. TLS needs no file but
// the system's roots.
//
// Redis's own file is replaced by BGSAVE, as by each of its own saves. Nothing else is changed.
//
// WayBack tells how a server gets its data again. An RDB replaces all that a server has, one that it can't read empties it or
// keeps it from starting, and with an append-only file it is ignored. So an RDB is compared with what the server has and can
// read (Contents), and the server gets it in one of these ways:
//
//	files        its own files are put aside while it is stopped, and the RDB is put where it reads at its start
//	container    the same in the volume of a stopped container, by another one of its image
//	replication  the server is a replica of a Master that has nothing but the RDB, for a moment
package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"permafrost/internal/hint"
	"permafrost/internal/hostfs"
	"permafrost/source"
)

const (
	dialTimeout = 5 * time.Second

	// replyTimeout is how long a command may take. A fork of tens of gigabytes stops Redis for seconds.
	replyTimeout = 30 * time.Second

	// loadTime bounds the wait for a Redis that has just started, and saveTime that for its RDB.
	loadTime, saveTime = time.Hour, time.Hour

	// idleTimeout is how long a replication stream may be silent: Redis sends a newline every ten seconds
	// while it prepares the RDB, and gives up on a replica after 60.
	idleTimeout = 2 * time.Minute

	// factsTime bounds the gathering of facts, and busyTime what Redis may take to load its data, or to save them.
	factsTime = 5 * time.Minute
	busyTime  = 12 * time.Hour
)

func init() {
	// The library reports its retries on standard error; what matters of them is in the error.
	logging.Disable()
}

// Options say how a Redis is dumped. The zero value is right for a process that connects as itself, and reads fast.
type Options struct {
	User *hostfs.User // who to be, for a process of root: Instance.User; nil for oneself

	// SpoolFile makes a file without a name, for what Redis sends faster than it is read: SpoolLimit bytes at most, 1 GiB where
	// that is 0. Where it is nil, or the limit is negative, Redis waits, which it does not do for long.
	SpoolFile  func() (*os.File, error)
	SpoolLimit int64

	Warn func(string) // is told what an administrator should know; may be nil
}

// A Server is a connection to a Redis. It is for one goroutine at a time.
type Server struct {
	conf   source.Redis // Addr is the server's even where sentinels told it
	opts   Options
	client *goredis.Client
	last   atomic.Pointer[net.Conn] // the last connection, below its TLS
	facts  Facts

	process int64 // the number of Redis' process, as it says; 0 where it does not
}

// Connect connects to r, or to the master that its sentinels name, waits until Redis has loaded its data
// set, and gathers the facts. A TLS server is verified with the system's roots; SSL_CERT_FILE names others. A
// process of root connects as the user of the options.
func Connect(ctx context.Context, r source.Redis, o Options) (*Server, error) {
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	s := &Server{conf: r, opts: o}
	if err := s.connect(ctx); err != nil {
		return nil, fmt.Errorf("connecting to %s: %w", r, explain(s.conf, err))
	}
	return s, nil
}

func (s *Server) connect(ctx context.Context) error {
	if len(s.conf.Sentinels) > 0 {
		addr, err := s.askSentinels(ctx)
		if err != nil {
			return err
		}
		s.conf.Network, s.conf.Addr = "tcp", addr
	}
	s.client = goredis.NewClient(s.options(s.conf.Addr, s.conf.User, s.conf.Password, s.conf.DB))
	defer guard(ctx, s.client)()
	err := s.refresh(ctx)
	if err != nil {
		s.client.Close()
	}
	return err
}

// guard closes a client once ctx is done: the library's calls do not notice before Redis answers. The
// function returned ends that.
func guard(ctx context.Context, client io.Closer) (stop func() bool) {
	return context.AfterFunc(ctx, func() { client.Close() })
}

// refresh gathers the facts once Redis has loaded its data set.
func (s *Server) refresh(ctx context.Context) error {
	err := s.awaitLoaded(ctx)
	if err == nil {
		fctx, cancel := context.WithTimeoutCause(ctx, factsTime, errSlow)
		defer cancel()
		if s.facts, err = s.gather(fctx); err != nil && fctx.Err() != nil {
			err = context.Cause(fctx)
		}
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

// askSentinels returns the address of the master.
func (s *Server) askSentinels(ctx context.Context) (string, error) {
	var errs []error
	for _, sentinel := range s.conf.Sentinels {
		c := goredis.NewSentinelClient(s.options(sentinel, "", s.conf.SentinelPassword, 0))
		stop := guard(ctx, c)
		addr, err := c.GetMasterAddrByName(ctx, s.conf.SentinelMaster).Result()
		stop()
		c.Close()
		switch {
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case err == nil && len(addr) == 2:
			return net.JoinHostPort(addr[0], addr[1]), nil
		case err == nil || errors.Is(err, goredis.Nil):
			err = fmt.Errorf("knows no master named %q", s.conf.SentinelMaster)
		}
		errs = append(errs, fmt.Errorf("sentinel %s: %w", sentinel, err))
	}
	return "", hint.Join(errs...)
}

// awaitLoaded waits while Redis loads its data set after a start.
func (s *Server) awaitLoaded(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, loadTime, fmt.Errorf("still loading its data after %v", loadTime))
	defer cancel()
	return poll(ctx, func() (bool, error) {
		err := s.client.Ping(ctx).Err()
		switch {
		case replied(err, "LOADING"):
			return false, nil
		case replied(err, "NOPERM"): // which is an answer too
			return true, nil
		}
		return true, err
	})
}

// Close ends the connection. Dumps under way are not affected.
func (s *Server) Close() error { return s.client.Close() }

// Facts returns what was found when the server was connected to, or at the last Dump.
func (s *Server) Facts() Facts { return s.facts }

func (s *Server) options(addr, user, password string, db int) *goredis.Options {
	return &goredis.Options{
		Addr: addr, Username: user, Password: password, DB: db,
		Dialer:        s.dialBounded,
		DialTimeout:   dialTimeout,
		DialerRetries: 1,
		ReadTimeout:   replyTimeout, WriteTimeout: replyTimeout,
		ContextTimeoutEnabled: true,
		MaxRetries:            1, // for a connection that Redis found idle too long
		Protocol:              2,
		PoolSize:              1,
		// An ACL user may well be denied what only introduces the client.
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// dialBounded is dial for the library, which reads whatever it is told.
func (s *Server) dialBounded(ctx context.Context, _, addr string) (net.Conn, error) {
	conn, err := s.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &boundedConn{Conn: conn, left: maxHeard}, nil
}

// dial connects to addr over the configured network, by TLS if so configured.
func (s *Server) dial(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	network := s.conf.Network
	if network == "" {
		network = "tcp"
	}
	dial := s.conf.Dial
	if dial == nil {
		dial = func(ctx context.Context, u *hostfs.User, network, addr string) (net.Conn, error) {
			return u.Dial(ctx, network, addr)
		}
	}
	conn, err := dial(ctx, s.opts.User, network, addr)
	if err != nil {
		return nil, err
	}
	s.last.Store(&conn)
	if !s.conf.TLS {
		return conn, nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	secure := tls.Client(conn, &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12})
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, errNoTLS
		}
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return secure, nil
}

// replied reports whether err is Redis's own answer, starting with one of the prefixes if any are given.
func replied(err error, prefixes ...string) bool {
	var reply goredis.Error
	if !errors.As(err, &reply) || errors.Is(err, goredis.Nil) {
		return false
	}
	for _, p := range prefixes {
		if strings.HasPrefix(reply.Error(), p) {
			return true
		}
	}
	return len(prefixes) == 0
}

// poll calls f until it says that it is done, at first often and then twice a second.
func poll(ctx context.Context, f func() (done bool, err error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, busyTime, errSlow)
	defer cancel()
	wait := 5 * time.Millisecond
	for {
		if done, err := f(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
		wait = min(2*wait, 500*time.Millisecond)
	}
}

// lost tells an end of the connection from the end of the data.
func lost(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return errors.New("the connection to Redis was lost")
	}
	return err
}
