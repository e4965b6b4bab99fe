package sandbox

import (
	"context"
	"errors"
	"os"
	"sync"
)

// A SharedSSHD is a plain OpenSSH server that the tests of one package share: to start one takes as long as many of them. Who
// ends, halts or reconfigures a server needs one of its own.
type SharedSSHD struct {
	once   sync.Once
	dir    string
	server *SSHD
	err    error
}

// Get returns the server, with a Root that nobody else has. The first call starts it.
func (s *SharedSSHD) Get() (*SSHD, error) {
	s.once.Do(func() {
		if s.dir, s.err = os.MkdirTemp("", "sshd"); s.err == nil {
			s.server, s.err = StartSSHD(context.Background(), s.dir, SSHDConfig{})
		}
	})
	if s.err != nil {
		return nil, s.err
	}
	own := *s.server
	var err error
	own.Root, err = os.MkdirTemp(s.server.Root, "")
	return &own, err
}

// Stop ends the server, if it was started, and removes what it has.
func (s *SharedSSHD) Stop() error {
	if s.server == nil {
		return nil
	}
	return errors.Join(s.server.Stop(), os.RemoveAll(s.dir))
}
