package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// A relay passes TCP connections on, and lets each byte wait on its way. Its bandwidth is not bounded.
type relay struct {
	net.Listener
	target string
	delay  time.Duration // each way

	mu    sync.Mutex
	conns []net.Conn
}

func newRelay(to string, delay time.Duration) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{Listener: l, target: to, delay: delay}
	go r.serve()
	return r, nil
}

func (r *relay) serve() {
	for {
		in, err := r.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", r.target)
		if err != nil {
			in.Close()
			continue
		}
		r.mu.Lock()
		r.conns = append(r.conns, in, out)
		r.mu.Unlock()
		go r.pass(out, in)
		go r.pass(in, out)
	}
}

// Close ends the relay and its connections.
func (r *relay) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.Listener.Close()
	for _, c := range r.conns {
		c.Close()
	}
	return err
}

// A parcel is what was read at once, and when it may arrive.
type parcel struct {
	data []byte
	due  time.Time
	err  error
}

// pass copies one direction until its end.
func (r *relay) pass(to, from net.Conn) {
	// As many as are under way at 10 Gbit/s and 100 ms.
	way := make(chan parcel, 2048)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(way)
		for {
			buf := make([]byte, 64<<10)
			n, err := from.Read(buf)
			select {
			case way <- parcel{buf[:n], time.Now().Add(r.delay), err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	defer cancel()
	for p := range way {
		time.Sleep(time.Until(p.due))
		if _, err := to.Write(p.data); err != nil {
			break
		}
		if errors.Is(p.err, io.EOF) {
			if c, ok := to.(*net.TCPConn); ok {
				c.CloseWrite()
			}
			return
		}
	}
	to.Close()
	from.Close()
}
