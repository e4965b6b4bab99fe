package sshconn

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	// lastWords is how long a process that has said all that it will may take to end.
	lastWords = 2 * time.Second
	// maxWords bounds how much is quoted of what it said, in characters.
	maxWords = 1 << 10
)

// oneLine joins the lines of a text.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// failed adds to an error what the server's process said. One that ended of its own will does so again.
func failed(err error, said string, status int) error {
	if said != "" {
		err = fmt.Errorf("the server says: %.*q: %w", maxWords, said, err)
	}
	if status <= 0 {
		return err
	}
	return permanentError{becausef(CauseAccountUseless, "its SFTP server ended with status %d: %w", status, err)}
}

// tail keeps the last bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	const limit = 2000
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	t.buf = t.buf[max(0, len(t.buf)-limit):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
