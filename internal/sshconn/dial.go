package sshconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

// maxJumps bounds the ProxyJumps between here and the host.
const maxJumps = 8

// dial connects to the host, through its jump hosts.
func (d *Dialer) dial(ctx context.Context) (*clientConn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.config.DialTimeout)
	defer cancel()
	h, err := d.files.resolve(d.config.Host, &d.config)
	if err != nil {
		return nil, permanentError{err}
	}
	cc := &clientConn{dead: make(chan struct{})}
	if err := d.connect(ctx, cc, h, 0); err != nil {
		cc.Close()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) && !Permanent(err) {
			err = fmt.Errorf("connecting to %s: no answer within %v", h, d.config.DialTimeout)
		}
		return nil, err
	}
	go func() {
		cc.client.Wait()
		cc.Close()
		close(cc.dead)
	}()
	go cc.watch(d.config.Timeout)
	return cc, nil
}

// connect makes cc end at h, starting from where it ends now.
func (d *Dialer) connect(ctx context.Context, cc *clientConn, h *host, depth int) error {
	if depth > maxJumps {
		return permanentError{fmt.Errorf("ssh_config: more than %d jumps on the way to %s", maxJumps, d.config.Host)}
	}
	for _, name := range h.jumps {
		jump, err := d.jump(name)
		if err != nil {
			return permanentError{err}
		}
		if cc.client != nil {
			jump.jumps = nil // the way there is paved
		}
		if err := d.connect(ctx, cc, jump, depth+1); err != nil {
			return err
		}
	}
	var conn net.Conn
	var err error
	if cc.client != nil {
		conn, err = cc.client.DialContext(ctx, "tcp", h.address())
	} else {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", h.address())
		cc.root = conn
	}
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", h, err)
	}
	return d.handshake(ctx, cc, h, conn)
}

// jump resolves [user@]host[:port].
func (d *Dialer) jump(name string) (*host, error) {
	c, _, err := ParseURL("ssh://" + strings.TrimPrefix(name, "ssh://") + "/")
	if err == nil {
		err = c.Check()
	}
	if err != nil {
		return nil, fmt.Errorf("ssh_config: ProxyJump %s is not understood", name)
	}
	if why := d.files.asksForCommand(c.Host); why != "" {
		return nil, becausef(CauseJumpCommand, "ssh_config: the way through %s needs %s", c.Host, why)
	}
	c.IdentityFiles, c.KnownHostsFiles = d.config.IdentityFiles, d.config.KnownHostsFiles
	return d.files.resolve(c.Host, &c)
}

// handshake proves to each other who h and the user are; then cc ends at h.
func (d *Dialer) handshake(ctx context.Context, cc *clientConn, h *host, conn net.Conn) error {
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
	cc.heard = new(atomic.Int64) // the last host on the way counts
	stop := context.AfterFunc(ctx, func() { cc.root.Close() })
	defer stop()
	c, channels, requests, err := ssh.NewClientConn(&heardConn{conn, cc.heard}, h.keyName, config)
	if err == nil {
		cc.client = ssh.NewClient(c, channels, requests)
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
