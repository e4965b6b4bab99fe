package sftpstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"permafrost/internal/sshconn"
)

const (
	// maxChannels bounds the SFTP channels of a connection; sshd's MaxSessions is 10 by default.
	maxChannels = 8
	// channelRTT is the round-trip time for which a further channel a connection is worth its cost. A channel's window
	// of 2 MiB fills a round trip of 12 ms at 170 MB/s.
	channelRTT = 12 * time.Millisecond
	// restTime is how long a connection that could not be made is left alone while others serve.
	restTime = time.Minute
)

var errClosed = errors.New("the store is closed")

// A dialFunc makes an SSH connection.
type dialFunc func(context.Context) (sshconn.Conn, error)

// A pool spreads operations over several SFTP channels, themselves spread over several connections. When all that there
// are have something to do it makes another one, in the background: a small run stays on one, and none but the first
// operation waits for a connection.
type pool struct {
	dial        dialFunc
	dialTimeout time.Duration
	timeout     time.Duration
	ctx         context.Context // of dials in the background, until close
	cancel      context.CancelFunc
	background  sync.WaitGroup

	conns []conn

	mu     sync.Mutex
	slots  []slot        // slot i is a channel of connection i % len(conns)
	single bool          // a connection has one channel, whatever the slots
	wake   chan struct{} // closed, and made anew, when a dial ends
	closed bool
}

// A conn is a place for a connection.
type conn struct {
	mu sync.Mutex
	c  sshconn.Conn // nil before the first
}

// A slot is a place for a channel.
type slot struct {
	session *session
	busy    int // operations under way
	dialing bool
	rest    time.Time // not to be dialed before
}

func newPool(c *Config, dial dialFunc) *pool {
	ctx, cancel := context.WithCancel(context.Background())
	return &pool{
		dial: dial, dialTimeout: c.DialTimeout, timeout: c.Timeout, ctx: ctx, cancel: cancel,
		conns: make([]conn, c.Connections), slots: make([]slot, c.Connections*max(c.Channels, 1)), wake: make(chan struct{}),
	}
}

// grow gives each connection as many channels as the round-trip time asks for.
func (p *pool) grow(rtt time.Duration) {
	channels := min(1+int(rtt/channelRTT), maxChannels)
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.slots) < channels*len(p.conns) {
		p.slots = append(p.slots, slot{})
	}
}

// usable returns the slots that there may be sessions in. p.mu is held.
func (p *pool) usable() []slot {
	if p.single {
		return p.slots[:len(p.conns)]
	}
	return p.slots
}

// acquire returns a session to work with. The caller calls release when it is done.
func (p *pool) acquire(ctx context.Context) (s *session, release func(), err error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		use, dial, wake, err := p.choose()
		switch {
		case err != nil:
			return nil, nil, err
		case use < 0 && dial >= 0:
			if err := p.fill(ctx, dial); err != nil {
				return nil, nil, err
			}
			continue
		case use < 0:
			select {
			case <-wake:
			case <-ctx.Done():
			}
			continue
		case dial >= 0:
			go func() {
				defer p.background.Done()
				if p.fill(p.ctx, dial) != nil {
					p.rest(dial)
				}
			}()
		}
		if s, release := p.use(use); s != nil {
			return s, release, nil
		}
	}
}

// choose picks the slot to use and the one to dial, each -1 for none. Where neither is, the caller waits for wake; where
// both are, it dials in the background, which close waits for.
func (p *pool) choose() (use, dial int, wake <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return -1, -1, nil, errClosed
	}
	use, dial = -1, -1
	dialing := false
	for i := range p.usable() {
		s := &p.slots[i]
		if s.session != nil && s.session.line.isDead() {
			s.session, s.busy = nil, 0
		}
		switch {
		case s.session != nil:
			if use < 0 || s.busy < p.slots[use].busy {
				use = i
			}
		case s.dialing:
			dialing = true
		case dial < 0 && !time.Now().Before(s.rest):
			dial = i
		}
	}
	switch {
	case use >= 0 && p.slots[use].busy == 0:
		dial = -1 // there is enough
	case use < 0 && dialing: // who comes while the first connection is made waits for how that goes
		return -1, -1, p.wake, nil
	case use < 0 && dial < 0: // all rest: nothing better is known
		p.slots[0].rest, dial = time.Time{}, 0
	}
	if dial >= 0 {
		p.slots[dial].dialing = true
	}
	if use >= 0 && dial >= 0 {
		p.background.Add(1)
	}
	return use, dial, nil, nil
}

// use counts an operation on the slot's session.
func (p *pool) use(i int) (*session, func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.slots[i].session
	if s == nil || s.line.isDead() {
		return nil, nil
	}
	p.slots[i].busy++
	s.line.begin()
	return s, func() {
		s.line.end()
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.slots[i].session == s {
			p.slots[i].busy--
		}
	}
}

// fill makes the session of a slot. Where that fails while another one serves, the slot is left to rest.
func (p *pool) fill(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(ctx, p.dialTimeout)
	defer cancel()
	session, err := p.open(ctx, &p.conns[i%len(p.conns)])
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.wake)
	p.wake = make(chan struct{})
	s := &p.slots[i]
	s.dialing = false
	if err == nil && p.closed {
		session.line.kill()
		err = errClosed
	}
	if err == nil {
		s.session, s.busy = session, 0
		return nil
	}
	for _, other := range p.slots {
		if other.session != nil && !other.session.line.isDead() {
			s.rest = time.Now().Add(restTime)
			return nil
		}
	}
	return err
}

// rest leaves a slot alone that could not be filled while others served, though these have ended by now.
func (p *pool) rest(i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slots[i].rest = time.Now().Add(restTime)
}

// open starts a session on the connection, which it makes if need be. The channels of one are opened side by side.
func (p *pool) open(ctx context.Context, place *conn) (*session, error) {
	c, err := place.get(ctx, p.dial)
	if err != nil {
		return nil, err
	}
	if c.Single() {
		p.mu.Lock()
		p.single = true
		p.mu.Unlock()
	}
	stream, err := c.StartSFTP(ctx)
	if err != nil {
		return nil, err
	}
	return newSession(ctx, c, stream, p.timeout)
}

// get returns the connection, which it makes if need be.
func (c *conn) get(ctx context.Context, dial dialFunc) (sshconn.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.c == nil || !c.c.Alive() {
		made, err := dial(ctx)
		if err != nil {
			return nil, err
		}
		c.c = made
	}
	return c.c, nil
}

// close ends every connection. Operations under way fail.
func (p *pool) close() {
	p.cancel()
	p.mu.Lock()
	p.closed = true
	for i := range p.slots {
		if s := p.slots[i].session; s != nil {
			s.line.kill()
		}
	}
	p.mu.Unlock()
	defer p.background.Wait()
	for i := range p.conns {
		c := &p.conns[i]
		c.mu.Lock() // a dial under way ends first, within its own time
		if c.c != nil {
			c.c.Close()
		}
		c.mu.Unlock()
	}
}
