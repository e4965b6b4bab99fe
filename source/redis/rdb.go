package redis

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// An RDB begins with nine bytes, REDIS0011 or VALKEY080: a magic and a version. Fields of metadata follow
// (opcode 0xFA, name, value), then the keys. It ends with opcode 0xFF and the CRC-64 of everything before,
// eight bytes, little-endian: zero where Redis was told to make none (rdbchecksum no).
const (
	magicSize = 9
	crcSize   = 8
	endMark   = 0xFF
	auxField  = 0xFA

	// minVersion is the first RDB version with a checksum, of Redis 2.6.
	minVersion = 5
)

// CheckRDB reads r to its end and returns nil if that was one whole RDB: its magic, its end mark and its
// checksum are right, and nothing follows. Where Redis made no checksum, only magic and end mark tell.
func CheckRDB(r io.Reader) error {
	_, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{&checked{r: r}}, make([]byte, 256<<10))
	return err
}

// checked passes on what r reads, and gives io.EOF only for a whole RDB. Its errors are final.
type checked struct {
	r    io.Reader
	size int64
	head [magicSize]byte
	tail []byte // the last bytes read: end mark and checksum, once all is read
	crc  uint64 // of all bytes but the last crcSize
	err  error
}

// Read implements io.Reader.
func (c *checked) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.r.Read(p)
	c.add(p[:n])
	if err == nil && c.size >= magicSize {
		// What is no RDB at all is refused at once, not after gigabytes.
		_, err = c.version()
	}
	if err == io.EOF {
		if err = c.whole(); err == nil {
			err = io.EOF
		}
	}
	c.err = err
	return n, err
}

// add takes note of the next bytes.
func (c *checked) add(p []byte) {
	if c.size < magicSize {
		copy(c.head[c.size:], p)
	}
	c.size += int64(len(p))
	// The checksum covers what is known not to be the checksum itself. One byte more, where the end mark
	// may be, is kept aside with it.
	const keep = 1 + crcSize
	if len(p) < keep {
		c.tail = append(c.tail, p...)
		if n := len(c.tail) - keep; n > 0 {
			c.crc = crcUpdate(c.crc, c.tail[:n])
			c.tail = append(c.tail[:0], c.tail[n:]...)
		}
		return
	}
	c.crc = crcUpdate(c.crc, c.tail)
	c.crc = crcUpdate(c.crc, p[:len(p)-keep])
	c.tail = append(c.tail[:0], p[len(p)-keep:]...)
}

// version checks the magic and returns the RDB's version.
func (c *checked) version() (int, error) {
	for _, magic := range []string{"REDIS", "VALKEY"} {
		if digits, ok := bytes.CutPrefix(c.head[:], []byte(magic)); ok {
			v, err := strconv.ParseUint(string(digits), 10, 16)
			if err == nil && v >= minVersion {
				return int(v), nil
			}
		}
	}
	return 0, fmt.Errorf("not an RDB: it starts with %q", c.head[:min(c.size, magicSize)])
}

// whole reports what is wrong once everything has been read.
func (c *checked) whole() error {
	if c.size < magicSize+1+crcSize {
		return fmt.Errorf("RDB is cut off after %d bytes", c.size)
	}
	if _, err := c.version(); err != nil {
		return err
	}
	if c.tail[0] != endMark {
		return fmt.Errorf("RDB of %d bytes has no end mark: it is cut off or damaged", c.size)
	}
	if c.checksummed() && c.checksum() != crcUpdate(c.crc, c.tail[:1]) {
		return errors.New("RDB is damaged: its checksum is wrong")
	}
	return nil
}

func (c *checked) checksum() uint64  { return binary.LittleEndian.Uint64(c.tail[1:]) }
func (c *checked) checksummed() bool { return c.checksum() != 0 }

// rdbTime returns the time of an RDB by its metadata, from its first bytes: seconds since 1970 by the
// server's clock, when it forked. It is zero where they don't tell.
func rdbTime(head []byte) time.Time {
	if len(head) < magicSize {
		return time.Time{}
	}
	head = head[magicSize:]
	for len(head) > 0 && head[0] == auxField {
		name, rest, ok := rdbString(head[1:])
		if !ok {
			break
		}
		value, rest, ok := rdbString(rest)
		if !ok {
			break
		}
		if name == "ctime" {
			if t := number(value); t > 0 {
				return time.Unix(t, 0).UTC()
			}
		}
		head = rest
	}
	return time.Time{}
}

// rdbString reads a string of a kind that metadata is made of: plain up to 16 KiB, or a small integer.
func rdbString(b []byte) (s string, rest []byte, ok bool) {
	if len(b) == 0 {
		return "", nil, false
	}
	kind, low := b[0]>>6, int(b[0]&0x3f)
	b = b[1:]
	var n int
	switch {
	case kind == 0:
		n = low
	case kind == 1 && len(b) >= 1:
		n, b = low<<8|int(b[0]), b[1:]
	case kind == 3 && low == 0 && len(b) >= 1:
		return strconv.Itoa(int(int8(b[0]))), b[1:], true
	case kind == 3 && low == 1 && len(b) >= 2:
		return strconv.Itoa(int(int16(binary.LittleEndian.Uint16(b)))), b[2:], true
	case kind == 3 && low == 2 && len(b) >= 4:
		return strconv.Itoa(int(int32(binary.LittleEndian.Uint32(b)))), b[4:], true
	default:
		return "", nil, false
	}
	if n > len(b) {
		return "", nil, false
	}
	return string(b[:n]), b[n:], true
}
