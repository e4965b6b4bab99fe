// Package sshconn connects to an SSH server as OpenSSH's ssh would for this process's user, and starts SFTP there.
//
// The address may be a Host of ~/.ssh/config. That file, known_hosts, the key files and the agent are heeded as ssh heeds
// them. Where they ask for what only ssh can do, such as a ProxyCommand or a security key, the ssh command connects.
//
// # Trust
//
// A host whose key is not known is refused, unless Config says to record new ones. A changed key is always refused. Nobody is
// asked for a passphrase or an opinion, and nothing is forwarded. As with ssh, settings count only where nobody but this user
// and root could have written them, and a private key that others may read is not used. Root runs no ssh command that others
// could replace.
//
// # Errors
//
// An error that a person can do something about is a CauseError. Permanent tells which errors come again, however often one
// tries. All that is read here is bounded: files, the agent's answer, and what a server says before it ends.
package sshconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
)

// A Conn is a connection to the server, or the ssh command in place of one. Each stream of that is a connection, which ends with the
// stream and not with the Conn: whoever closes a Conn closes its streams too.
type Conn interface {
	// StartSFTP starts an SFTP server at the other end. The stream ends with the connection.
	StartSFTP(ctx context.Context) (Stream, error)
	// Alive tells whether StartSFTP may succeed.
	Alive() bool
	// Single tells whether the other end serves one stream at a time well, and no more.
	Single() bool
	// Close ends the connection at once.
	Close() error
}

// A Stream leads to an SFTP server that was started.
type Stream interface {
	io.ReadWriteCloser
	// Explain adds to an error, with which the protocol failed to begin, what the server or ssh said about it, and may find it
	// Permanent. It waits for their end, though not for long. An error that is Permanent already needs no explanation.
	Explain(err error) error
}

// A permanentError is one that trying again can't mend.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// Permanent reports whether an error of a Conn, of a Stream or in making a Conn is one that trying again can't mend.
func Permanent(err error) bool {
	var p permanentError
	return errors.As(err, &p)
}

// A Dialer makes connections to one server: in this process, or by the ssh command where Config or the settings ask for that.
type Dialer struct {
	config Config
	files  *sshConfig // nil where the ssh command makes every connection
	told   sync.Map   // what was said already: each connection reads the same files

	deviceOnly atomic.Bool // only a security key gets in, and so only the ssh command
}

// NewDialer reads the settings and decides how to connect. It does not connect.
func NewDialer(c Config) (*Dialer, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	c.SetDefaults()
	for _, f := range c.IdentityFiles {
		if _, err := os.Stat(f); err != nil {
			return nil, fmt.Errorf("reading identity: %w", err)
		}
	}
	if !c.UseCommand {
		files, err := readSSHConfig(c.ConfigFile)
		if err != nil {
			return nil, err
		}
		if files.asksForCommand(c.Host) == "" {
			return &Dialer{config: c, files: files}, nil
		}
	}
	if err := checkCommand(&c); err != nil {
		return nil, err
	}
	return &Dialer{config: c}, nil
}

// ByCommand tells whether the ssh command makes every connection. Each stream is then a process and a connection of its own.
func (d *Dialer) ByCommand() bool { return d.files == nil }

// Dial connects to the server, within Config.DialTimeout. By the ssh command it is each StartSFTP that connects.
func (d *Dialer) Dial(ctx context.Context) (Conn, error) {
	if d.ByCommand() {
		return commandConn{config: &d.config}, nil
	}
	if d.deviceOnly.Load() {
		return commandConn{config: &d.config, asks: true}, nil
	}
	conn, err := d.dial(ctx)
	switch device := (*deviceKeyError)(nil); {
	case errors.As(err, &device):
		d.deviceOnly.Store(true)
		return commandConn{config: &d.config, asks: true}, nil
	case err != nil:
		return nil, err
	}
	return conn, nil
}
