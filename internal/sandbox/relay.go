package sandbox

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Relay stands between client and server, and is the network's every whim.
type Relay struct {
	Up, Down atomic.Int64 // bytes passed on so far
	CutUp    atomic.Int64 // cuts all connections once Up has reached this; 0: never
	CutDown  atomic.Int64 // likewise of Down
	Cuts     atomic.Int32 // how often all connections were cut
	Refuse   atomic.Bool  // new connections are closed at once
	Mute     atomic.Bool  // nothing is passed on, and what is sent is lost
	Accepted atomic.Int32 // connections so far

	listener net.Listener
	target   string
	delay    atomic.Int64 // each way, in nanoseconds

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// StartRelay returns a relay in front of the server at an address, which delays each byte by so much each way.
func StartRelay(target string, delay time.Duration) (*Relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Relay{listener: l, target: target, conns: make(map[net.Conn]bool)}
	r.Delay(delay)
	go r.serve()
	return r, nil
}

// Port is where the relay listens, on 127.0.0.1.
func (r *Relay) Port() int { return r.listener.Addr().(*net.TCPAddr).Port }

// Delay has each byte that comes from now on wait for so long each way.
func (r *Relay) Delay(d time.Duration) { r.delay.Store(int64(d)) }

// Close ends the relay and its connections.
func (r *Relay) Close() error {
	err := r.listener.Close()
	r.Cut()
	return err
}

func (r *Relay) serve() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.Accepted.Add(1)
		if r.Refuse.Load() {
			conn.Close()
			continue
		}
		server, err := net.Dial("tcp", r.target)
		if err != nil {
			conn.Close()
			continue
		}
		r.mu.Lock()
		r.conns[conn], r.conns[server] = true, true
		r.mu.Unlock()
		go r.pass(server, conn, &r.Up, &r.CutUp)
		go r.pass(conn, server, &r.Down, &r.CutDown)
	}
}

type parcel struct {
	data []byte
	due  time.Time
}

// pass copies, late by the delay, and keeps no count of what is on its way.
func (r *Relay) pass(to, from net.Conn, passed, limit *atomic.Int64) {
	way := make(chan parcel, 1<<14)
	go func() {
		defer close(way)
		for {
			buf := make([]byte, 64<<10)
			n, err := from.Read(buf)
			way <- parcel{buf[:n], time.Now().Add(time.Duration(r.delay.Load()))}
			if err != nil {
				return
			}
		}
	}()
	defer to.Close()
	defer from.Close()
	for p := range way {
		if wait := time.Until(p.due); wait > 0 {
			time.Sleep(wait)
		}
		if r.Mute.Load() {
			continue
		}
		data, cut := upTo(p.data, passed, limit)
		_, err := to.Write(data)
		if cut {
			r.Cut()
		}
		if err != nil {
			for range way {
			}
			return
		}
	}
}

// upTo counts data as passed on, and tells whether the limit is reached: then what lies beyond it is not to get through. Who
// waits for more than the limit is interrupted for certain, and not only where the cut is faster than the data.
func upTo(data []byte, passed, limit *atomic.Int64) (within []byte, cut bool) {
	n := int64(len(data))
	before := passed.Add(n) - n
	at := limit.Load()
	if at == 0 || before+n < at || !limit.CompareAndSwap(at, 0) {
		return data, false
	}
	return data[:min(max(at-before, 0), n)], true
}

// Cut breaks all connections.
func (r *Relay) Cut() {
	r.Cuts.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		c.Close()
	}
	clear(r.conns)
}
