package sandbox

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// cutAfter is how long a connection of a server lasts that cuts them.
const cutAfter = 3 * time.Second

// StartQuirky runs an SSH server with quirks, within this process. Its files are in dir/sshd; clients see the whole host.
func StartQuirky(dir string, quirks *Quirks) (*SSHD, error) {
	s, err := newSSHD(dir)
	if err != nil {
		return nil, fmt.Errorf("starting the server with quirks: %w", err)
	}
	q := &quirkServer{quirks: quirks, conns: make(map[net.Conn]bool)}
	if err := q.listen(s); err != nil {
		return nil, fmt.Errorf("starting the server with quirks: %w", err)
	}
	s.stop = q.close
	return s, nil
}

// A quirkServer is a server that runs.
type quirkServer struct {
	quirks   *Quirks
	config   *ssh.ServerConfig
	listener net.Listener

	mu    sync.Mutex
	conns map[net.Conn]bool
	done  sync.WaitGroup
}

func (q *quirkServer) listen(s *SSHD) error {
	public, err := makeKey(filepath.Join(s.dir, "host_key"))
	if err != nil {
		return err
	}
	private, err := os.ReadFile(filepath.Join(s.dir, "host_key"))
	if err != nil {
		return err
	}
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(s.dir, "authorized_keys"))
	if err != nil {
		return err
	}
	client, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return err
	}
	q.config = &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(key.Marshal(), client.Marshal()) {
			return nil, fmt.Errorf("another key")
		}
		return nil, nil
	}}
	q.config.AddHostKey(signer)
	if q.listener, err = net.Listen("tcp", net.JoinHostPort(s.Host, "0")); err != nil {
		return err
	}
	s.Port = q.listener.Addr().(*net.TCPAddr).Port
	q.done.Go(q.accept)
	line := knownhosts.Line([]string{q.listener.Addr().String()}, public) + "\n"
	return os.WriteFile(s.KnownHosts, []byte(line), 0o644)
}

func (q *quirkServer) accept() {
	for {
		conn, err := q.listener.Accept()
		if err != nil {
			return
		}
		q.mu.Lock()
		q.conns[conn] = true
		q.mu.Unlock()
		if q.quirks.has[Cuts] {
			time.AfterFunc(cutAfter, func() { conn.Close() })
		}
		q.done.Go(func() {
			q.serve(conn)
			conn.Close()
			q.mu.Lock()
			delete(q.conns, conn)
			q.mu.Unlock()
		})
	}
}

// serve serves the channels of a connection.
func (q *quirkServer) serve(conn net.Conn) {
	_, channels, requests, err := ssh.NewServerConn(conn, q.config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	var open sync.WaitGroup
	defer open.Wait()
	first := true
	for c := range channels {
		if c.ChannelType() != "session" || !first && q.quirks.has[OneChannel] {
			c.Reject(ssh.ResourceShortage, "no more channels")
			continue
		}
		first = false
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		open.Go(func() {
			defer channel.Close()
			for r := range requests {
				ok := r.Type == "subsystem"
				r.Reply(ok, nil)
				if ok {
					go ssh.DiscardRequests(requests)
					q.quirks.Serve(channel)
					return
				}
			}
		})
	}
}

// close ends the server and its connections.
func (q *quirkServer) close() error {
	err := q.listener.Close()
	q.mu.Lock()
	for conn := range q.conns {
		conn.Close()
	}
	q.mu.Unlock()
	q.done.Wait()
	return err
}
