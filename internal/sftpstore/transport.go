package sftpstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// A transport is one connection to the host.
type transport interface {
	// open starts an SFTP server at the other end. What it returns ends with the transport.
	open(ctx context.Context) (io.ReadWriteCloser, error)
	// alive tells whether open may succeed.
	alive() bool
	// single tells whether the other end serves one open at a time well, and no more.
	single() bool
	// close ends the connection at once.
	close()
}

// A permanentError is one that trying again can't mend.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

func permanent(err error) bool {
	var p permanentError
	return errors.As(err, &p)
}

// maxJumps bounds the ProxyJumps between here and the host.
const maxJumps = 8

// A dialer makes SSH connections in this process.
type dialer struct {
	config *Config
	files  *sshConfig
	told   sync.Map // what was said already: each connection reads the same files

	byCommand atomic.Bool // only the ssh command gets in
}

// sshTransport is an SSH connection of this process.
type sshTransport struct {
	client *ssh.Client
	root   net.Conn      // the TCP connection below all: where it ends, all ends
	heard  *atomic.Int64 // when the host said something last; Unix nanoseconds
	dead   chan struct{}
}

// single implements transport. ProFTPD's mod_sftp stops answering now and then where several channels of a connection
// upload at once.
func (t *sshTransport) single() bool {
	return strings.Contains(string(t.client.ServerVersion()), "mod_sftp")
}

// dialAnyhow is dial, and leaves it to the ssh command where only a security key may be let in.
func (d *dialer) dialAnyhow(ctx context.Context) (transport, error) {
	if d.byCommand.Load() {
		return commandTransport{d.config, true}, nil
	}
	t, err := d.dial(ctx)
	if device := (*deviceKeyError)(nil); errors.As(err, &device) {
		d.byCommand.Store(true)
		return commandTransport{d.config, true}, nil
	}
	return t, err
}

// dial connects to the host, through its jump hosts.
func (d *dialer) dial(ctx context.Context) (transport, error) {
	ctx, cancel := context.WithTimeout(ctx, d.config.DialTimeout)
	defer cancel()
	h, err := d.files.resolve(d.config.Host, d.config)
	if err != nil {
		return nil, permanentError{err}
	}
	t := &sshTransport{dead: make(chan struct{})}
	if err := d.connect(ctx, t, h, 0); err != nil {
		t.close()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) && !permanent(err) {
			err = fmt.Errorf("connecting to %s: no answer within %v", h, d.config.DialTimeout)
		}
		return nil, err
	}
	go func() {
		t.client.Wait()
		t.close()
		close(t.dead)
	}()
	go t.watch(d.config.Timeout)
	return t, nil
}

// connect makes t end at h, starting from where it ends now.
func (d *dialer) connect(ctx context.Context, t *sshTransport, h *host, depth int) error {
	if depth > maxJumps {
		return permanentError{fmt.Errorf("ssh_config: more than %d jumps on the way to %s", maxJumps, d.config.Host)}
	}
	for _, name := range h.jumps {
		jump, err := d.jump(name)
		if err != nil {
			return permanentError{err}
		}
		if t.client != nil {
			jump.jumps = nil // the way there is paved
		}
		if err := d.connect(ctx, t, jump, depth+1); err != nil {
			return err
		}
	}
	var conn net.Conn
	var err error
	if t.client != nil {
		conn, err = t.client.DialContext(ctx, "tcp", h.address())
	} else {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", h.address())
		t.root = conn
	}
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", h, err)
	}
	return d.handshake(ctx, t, h, conn)
}

// jump resolves [user@]host[:port].
func (d *dialer) jump(name string) (*host, error) {
	c, err := Parse("sftp://" + strings.TrimPrefix(name, "ssh://") + "/")
	if err != nil {
		return nil, fmt.Errorf("ssh_config: ProxyJump %s is not understood", name)
	}
	if why := d.files.asksForCommand(c.Host); why != "" {
		return nil, becausef(CauseJumpCommand, "ssh_config: the way through %s needs %s", c.Host, why)
	}
	c.IdentityFiles, c.KnownHostsFiles = d.config.IdentityFiles, d.config.KnownHostsFiles
	return d.files.resolve(c.Host, &c)
}

// handshake proves to each other who h and the user are; then t ends at h.
func (d *dialer) handshake(ctx context.Context, t *sshTransport, h *host, conn net.Conn) error {
	known, err := readHostKeys(h, d.config.AcceptNewHostKey)
	if err != nil {
		return permanentError{err}
	}
	if text := known.warning(); text != "" {
		if _, told := d.told.LoadOrStore(text, true); !told {
			d.config.Warn(text)
		}
	}
	k, err := readKeys(h, d.files.home)
	if err != nil {
		return permanentError{err}
	}
	defer k.close()
	config := &ssh.ClientConfig{
		User:              h.user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(k.signers...)},
		HostKeyCallback:   known.callback,
		HostKeyAlgorithms: known.algorithms(),
	}
	config.Ciphers = ciphers()
	t.heard = new(atomic.Int64) // the last host on the way counts
	stop := context.AfterFunc(ctx, func() { t.root.Close() })
	defer stop()
	c, channels, requests, err := ssh.NewClientConn(&heardConn{conn, t.heard}, h.keyName, config)
	if err == nil {
		t.client = ssh.NewClient(c, channels, requests)
		return nil
	}
	var negotiation *ssh.AlgorithmNegotiationError
	switch {
	case known.err != nil:
		return permanentError{known.err}
	case errors.As(err, &negotiation) && negotiation.What == "host key" && len(known.known) > 0:
		return permanentError{known.changed(known.known[0], err)}
	case errors.As(err, &negotiation):
		return permanentError{fmt.Errorf("connecting to %s: %w", h, err)}
	case refused(err):
		return permanentError{k.refused(h, err)}
	}
	return fmt.Errorf("connecting to %s: %w", h, err)
}

// refused tells a login that the server does not want from a connection that broke. The library has no type for it.
func refused(err error) bool {
	text := err.Error()
	return strings.Contains(text, "unable to authenticate") || strings.Contains(text, "Too many authentication failures")
}

// ciphers returns which to offer: AES-128-GCM is the fastest where the processor knows AES, as nearly all do.
func ciphers() []string {
	all := slices.DeleteFunc(ssh.SupportedAlgorithms().Ciphers, func(c string) bool { return c == ssh.CipherAES128GCM })
	return append([]string{ssh.CipherAES128GCM}, all...)
}

func (t *sshTransport) open(ctx context.Context) (io.ReadWriteCloser, error) {
	// A server that goes away while it is asked ends the wait with the transport.
	stop := context.AfterFunc(ctx, t.close)
	defer stop()
	channel, requests, err := t.client.OpenChannel("session", nil)
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

// explain makes of an error during the start one that tells what the process said, which ended by itself. OpenSSH's server
// passes on the status alone, other ones stderr too.
func (r *remote) explain(err error) error {
	if permanent(err) {
		return err
	}
	select {
	case <-r.ended:
	case <-time.After(lastWords):
		return err // it still runs
	}
	return failed(err, oneLine(r.stderr.String()), int(r.status))
}

// lastWords is how long a process that has said all that it will may take to end.
const lastWords = 2 * time.Second

// oneLine joins the lines of a text.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// failed adds to an error what the server's process said. One that ended of its own will does so again.
func failed(err error, said string, status int) error {
	if said != "" {
		err = fmt.Errorf("the server says: %.*q: %w", maxMessage, said, err)
	}
	if status <= 0 {
		return err
	}
	return permanentError{becausef(CauseAccountUseless, "its SFTP server ended with status %d: %w", status, err)}
}

func (t *sshTransport) alive() bool {
	select {
	case <-t.dead:
		return false
	default:
		return true
	}
}

func (t *sshTransport) close() {
	if t.root != nil {
		t.root.Close()
	}
}

// watch asks the server for a sign of life where it has long given none, and ends the connection where none comes.
func (t *sshTransport) watch(timeout time.Duration) {
	tick := time.NewTicker(timeout / 4)
	defer tick.Stop()
	var asking atomic.Bool
	for {
		select {
		case <-t.dead:
			return
		case <-tick.C:
		}
		silent := time.Since(time.Unix(0, t.heard.Load()))
		switch {
		case silent > timeout:
			t.close()
			return
		case silent > timeout/4 && asking.CompareAndSwap(false, true):
			go func() { // it blocks for as long as the server is silent
				t.client.SendRequest("keepalive@openssh.com", true, nil)
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
