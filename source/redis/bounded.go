package redis

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
)

// What a server may answer. Mastodon's own user chooses it, and the library that reads the answers makes room for whatever
// length they announce.
const (
	maxAnswer  = 1 << 20  // bytes of a text: INFO of the busiest server has some ten thousand
	maxMembers = 10_000   // of a list
	maxDepth   = 8        // of lists within lists
	maxHeard   = 64 << 20 // bytes of a connection
)

// A boundedConn is a connection to a server whose answers are bounded. It follows the protocol (RESP 2, and
// nothing of RESP 3, for which nobody asked) as the bytes pass: lines of a type and a text or a length, and behind some of
// them that many bytes, or that many answers.
type boundedConn struct {
	net.Conn
	left  int // bytes that may still come
	line  []byte
	skip  int   // bytes of a text, with its end, that are still to pass
	lists []int // members that the open lists still lack, the innermost last
	err   error
}

func (c *boundedConn) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.Conn.Read(p)
	if c.left -= n; c.left < 0 {
		c.err = errors.New("the server says more than a Redis has to say")
	} else {
		c.err = c.follow(p[:n])
	}
	if c.err != nil {
		return 0, c.err
	}
	return n, err
}

// follow looks at bytes that came.
func (c *boundedConn) follow(p []byte) error {
	for len(p) > 0 {
		if c.skip > 0 {
			n := min(c.skip, len(p))
			p = p[n:]
			if c.skip -= n; c.skip == 0 {
				c.member()
			}
			continue
		}
		part, rest, ended := bytes.Cut(p, []byte("\n"))
		if c.line = append(c.line, part...); len(c.line) > maxReply {
			return fmt.Errorf("the server answers with a line of more than %d bytes", maxReply)
		}
		if ended {
			if err := c.header(string(bytes.TrimSuffix(c.line, []byte("\r")))); err != nil {
				return err
			}
			c.line = c.line[:0]
		}
		p = rest
	}
	return nil
}

// header takes a line of the protocol's own.
func (c *boundedConn) header(line string) error {
	if line == "" {
		return nil
	}
	n, err := strconv.Atoi(line[1:])
	switch line[0] {
	case '+', '-', ':':
	case '$':
		switch {
		case err != nil || n > maxAnswer:
			return fmt.Errorf("the server answers with a text of %.40q bytes, and may with %d", line[1:], maxAnswer)
		case n >= 0:
			c.skip = n + len("\r\n")
			return nil
		}
	case '*':
		switch {
		case err != nil || n > maxMembers || len(c.lists) == maxDepth:
			return fmt.Errorf("the server answers with a list of %.40q members, %d deep, and may with %d, %d deep", line[1:], len(c.lists)+1, maxMembers, maxDepth)
		case n > 0:
			c.lists = append(c.lists, n)
			return nil
		}
	default:
		return fmt.Errorf("the server answers with what is no answer of Redis': %.40q", line)
	}
	c.member()
	return nil
}

// member counts an answer that has ended, and the lists that end with it.
func (c *boundedConn) member() {
	for len(c.lists) > 0 {
		last := &c.lists[len(c.lists)-1]
		if *last--; *last > 0 {
			return
		}
		c.lists = c.lists[:len(c.lists)-1]
	}
}
