package sshconn

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// A clientConn is an SSH connection of this process.
type clientConn struct {
	client *ssh.Client
	root   net.Conn      // the TCP connection below all: where it ends, all ends
	heard  *atomic.Int64 // when the host said something last; Unix nanoseconds
	dead   chan struct{}
}

// Single implements Conn. ProFTPD's mod_sftp stops answering now and then where several channels of a connection
// upload at once.
func (c *clientConn) Single() bool {
	return strings.Contains(string(c.client.ServerVersion()), "mod_sftp")
}

// StartSFTP implements Conn.
func (c *clientConn) StartSFTP(ctx context.Context) (Stream, error) {
	// A server that goes away while it is asked ends the wait with the connection.
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	channel, requests, err := c.client.OpenChannel("session", nil)
	if err != nil {
		return nil, fmt.Errorf("opening an SSH channel: %w", err)
	}
	p := &remote{Channel: channel, ended: make(chan struct{})}
	go p.listen(requests)
	ok, err := channel.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"}))
	if err == nil && !ok {
		err = permanentError{becausef(CauseNoSFTP, "the server refuses the sftp subsystem")}
	}
	if err != nil {
		channel.Close()
		return nil, fmt.Errorf("starting SFTP: %w", err)
	}
	return p, nil
}

// A remote is the process at the other end of a channel.
type remote struct {
	ssh.Channel
	stderr tail
	status uint32        // with which it ended
	ended  chan struct{} // closed once stderr and status are all that they will be
}

func (r *remote) listen(requests <-chan *ssh.Request) {
	defer close(r.ended)
	var stderr sync.WaitGroup
	defer stderr.Wait()
	stderr.Go(func() { io.Copy(&r.stderr, r.Stderr()) })
	for request := range requests {
		if request.Type == "exit-status" && len(request.Payload) == 4 {
			r.status = binary.BigEndian.Uint32(request.Payload)
		}
		if request.WantReply {
			request.Reply(false, nil)
		}
	}
}

// Explain implements Stream. OpenSSH's server passes on the status of a process that ended by itself, other ones stderr too.
func (r *remote) Explain(err error) error {
	select {
	case <-r.ended:
	case <-time.After(lastWords):
		return err // it still runs
	}
	return failed(err, oneLine(r.stderr.String()), int(r.status))
}

// Alive implements Conn.
func (c *clientConn) Alive() bool {
	select {
	case <-c.dead:
		return false
	default:
		return true
	}
}

// Close implements Conn.
func (c *clientConn) Close() error {
	if c.root == nil {
		return nil
	}
	return c.root.Close()
}

// watch asks the server for a sign of life where it has long given none, and ends the connection where none comes.
func (c *clientConn) watch(timeout time.Duration) {
	tick := time.NewTicker(timeout / 4)
	defer tick.Stop()
	var asking atomic.Bool
	for {
		select {
		case <-c.dead:
			return
		case <-tick.C:
		}
		silent := time.Since(time.Unix(0, c.heard.Load()))
		switch {
		case silent > timeout:
			c.Close()
			return
		case silent > timeout/4 && asking.CompareAndSwap(false, true):
			go func() { // it blocks for as long as the server is silent
				c.client.SendRequest("keepalive@openssh.com", true, nil)
				asking.Store(false)
			}()
		}
	}
}

// heardConn notes when something arrived last.
type heardConn struct {
	net.Conn
	heard *atomic.Int64
}

func (c *heardConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.heard.Store(time.Now().UnixNano())
	return n, err
}
