package redis

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"permafrost/internal/hint"
)

// hints by what Redis's answer starts with.
var hints = []struct{ prefix, text string }{
	{"WRONGPASS", "compare REDIS_PASSWORD, REDIS_USER or REDIS_URL in .env.production with requirepass or the ACL of redis.conf"},
	{"ERR invalid password", "compare REDIS_PASSWORD or REDIS_URL in .env.production with requirepass in redis.conf"},
	{"NOAUTH", "Redis asks for a password, and .env.production has none for it"},
	{"NOMASTERLINK", "this Redis is a replica that has lost its master: back up the master"},
	{"MASTERDOWN", "this Redis is a replica that has lost its master: back up the master"},
	{"ERR Can't SYNC while not connected with my master", "this Redis is a replica that has lost its master: back up the master"},
	{"ERR DB index is out of range", "the database number in .env.production is above Redis's own setting, databases"},
}

// redact takes the passwords out of err, should Redis have quoted a command in its answer.
func (s *Server) redact(err error) error {
	for _, secret := range []string{s.conf.Password, s.conf.SentinelPassword} {
		if secret != "" && strings.Contains(err.Error(), secret) {
			err = errors.New(strings.ReplaceAll(err.Error(), secret, "…"))
		}
	}
	return err
}

// explain redacts err, and attaches a hint where the likely mistake is known.
func (s *Server) explain(err error) error {
	err = s.redact(err)
	if hint.Of(err) != "" {
		return err
	}
	if replied(err, "NOPERM") {
		return hint.Wrap(err, s.refusedHint(err))
	}
	for _, h := range hints {
		if replied(err, h.prefix) {
			return hint.Wrap(err, h.text)
		}
	}
	var unknown x509.UnknownAuthorityError
	var dial *net.OpError
	var unnamed *net.DNSError
	switch {
	case errors.As(err, &unnamed) && s.conf.Advice != "":
		return hint.Wrap(err, s.conf.Advice)
	case errors.As(err, &unknown):
		return hint.Wrap(err, "name the authority that signed Redis's certificate: SSL_CERT_FILE=/path/ca.crt")
	case errors.Is(err, errNoTLS):
		return hint.Wrap(err, "if this port of Redis speaks no TLS, name another one, or write redis: instead of rediss: in REDIS_URL")
	case !s.conf.TLS && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		return hint.Wrap(err, "Redis's log may say why; if this port speaks TLS, write rediss: instead of redis: in REDIS_URL")
	case !errors.As(err, &dial):
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		if s.conf.Elsewhere {
			return hint.Wrap(err, "is Redis running, and does url below [redis] or [sidekiq] in permafrost.toml name its address?")
		}
		return hint.Wrap(err, "is Redis running, and does .env.production name its address?")
	case errors.Is(err, syscall.EACCES):
		return hint.Wrap(err, "run permafrost as root, or as a user of the group that may use Redis's socket")
	}
	return err
}

// replyError is an error that Redis answered on a connection of our own.
type replyError string

func (e replyError) Error() string { return string(e) }

// RedisError marks it as go-redis marks its own.
func (replyError) RedisError() {}

// errSlow says that a server kept on answering without coming to an end.
var errSlow = errors.New("the server does not come to an end")

// errNoTLS is what a Redis without TLS does to a TLS handshake: nothing.
var errNoTLS = errors.New("no answer to the TLS handshake")

// timeoutError says who was silent, instead of "i/o timeout".
func timeoutError(err error) error {
	var t net.Error
	if errors.As(err, &t) && t.Timeout() {
		return fmt.Errorf("the server was silent for %v: %w", idleTimeout, err)
	}
	return err
}
