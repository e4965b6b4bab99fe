package redis

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"permafrost/source"
)

// causes by what Redis's answer starts with.
var causes = []struct {
	prefix string
	cause  source.Cause
}{
	{"WRONGPASS", CauseWrongUser},
	{"ERR invalid password", CauseWrongPassword},
	{"NOAUTH", CauseNoPassword},
	{"NOMASTERLINK", CauseNoMaster},
	{"MASTERDOWN", CauseNoMaster},
	{"ERR Can't SYNC while not connected with my master", CauseNoMaster},
	{"ERR DB index is out of range", CauseNoDatabase},
}

// redact takes the passwords out of err, should Redis have quoted a command in its answer.
func redact(conf source.Redis, err error) error {
	for _, secret := range []string{conf.Password, conf.SentinelPassword} {
		if secret != "" && strings.Contains(err.Error(), secret) {
			err = errors.New(strings.ReplaceAll(err.Error(), secret, "…"))
		}
	}
	return err
}

// explain redacts err, and gives it a cause where one is known.
func explain(conf source.Redis, err error) error {
	err = redact(conf, err)
	if source.CauseOf(err).Cause != "" {
		return err
	}
	if replied(err, "NOPERM") {
		return refusal(conf, err).Of(err)
	}
	for _, c := range causes {
		if replied(err, c.prefix) {
			return source.Because(c.cause, err)
		}
	}
	var unknown x509.UnknownAuthorityError
	var dial *net.OpError
	var lookup *net.DNSError
	switch {
	case errors.As(err, &lookup) && conf.NoAddress != nil:
		return conf.NoAddress.Of(err)
	case errors.As(err, &unknown):
		return source.Because(CauseAuthority, err)
	case errors.Is(err, errNoTLS):
		return source.Because(CauseNoTLS, err)
	case !conf.TLS && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		return source.Because(CauseHungUp, err)
	case !errors.As(err, &dial):
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		if conf.Elsewhere {
			return source.Because(CauseNoServerHere, err)
		}
		return source.Because(CauseNoServer, err)
	case errors.Is(err, syscall.EACCES):
		return source.Because(CauseSocketDenied, err)
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
