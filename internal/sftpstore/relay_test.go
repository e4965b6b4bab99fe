package sftpstore

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"permafrost/internal/sandbox"
)

// A relay stands between client and server, and is the network's every whim.
type relay struct {
	listener net.Listener
	target   string
	delay    time.Duration // each way

	up, down atomic.Int64 // bytes passed on so far
	cutUp    atomic.Int64 // cut all connections once up has reached this; 0: never
	cutDown  atomic.Int64
	cuts     atomic.Int32
	refuse   atomic.Bool // new connections are closed at once
	mute     atomic.Bool // nothing is passed on
	accepted atomic.Int32

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// startRelay returns a relay in front of the server, and a configuration that goes through it.
func startRelay(t testing.TB, server *sandbox.SSHD, delay time.Duration) (*relay, Config) {
	t.Helper()
	c := config(server)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, target: (&host{name: server.Host, port: server.Port}).address(), delay: delay, conns: make(map[net.Conn]bool)}
	go r.serve()
	t.Cleanup(func() {
		l.Close()
		r.cut()
	})
	c.Port = l.Addr().(*net.TCPAddr).Port
	c.KnownHostsFiles = []string{rename(t, server.KnownHosts, server.Port, c.Port)}
	c.RetryBudget = 20 * time.Second
	return r, c
}

func (r *relay) serve() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.accepted.Add(1)
		if r.refuse.Load() {
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
		go r.pass(server, conn, &r.up, &r.cutUp)
		go r.pass(conn, server, &r.down, &r.cutDown)
	}
}

type parcel struct {
	data []byte
	due  time.Time
}

// pass copies, late by the delay, and keeps no count of what is on its way.
func (r *relay) pass(to, from net.Conn, passed, limit *atomic.Int64) {
	way := make(chan parcel, 1<<14)
	go func() {
		defer close(way)
		for {
			buf := make([]byte, 64<<10)
			n, err := from.Read(buf)
			way <- parcel{buf[:n], time.Now().Add(r.delay)}
			if err != nil {
				return
			}
		}
	}()
	defer to.Close()
	defer from.Close()
	for p := range way {
		if r.delay > 0 {
			time.Sleep(time.Until(p.due))
		}
		if r.mute.Load() {
			continue
		}
		if _, err := to.Write(p.data); err != nil {
			for range way {
			}
			return
		}
		if at := limit.Load(); passed.Add(int64(len(p.data))) >= at && at > 0 && limit.CompareAndSwap(at, 0) {
			r.cut()
		}
	}
}

// cut breaks all connections.
func (r *relay) cut() {
	r.cuts.Add(1)
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
