package redis

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// Opcodes of an RDB that stand where a value's type would. Redis' and Valkey's rdb.h list them.
const (
	opSlotInfo  = 244
	opFunction  = 245
	opModuleAux = 247
	opIdle      = 248
	opFreq      = 249
	opResizeDB  = 251
	opExpireMS  = 252
	opExpire    = 253
	opSelectDB  = 254
)

// An rdbParser reads the keys of an RDB and passes over their values.
type rdbParser struct {
	r         *bufio.Reader
	databases map[int]*Database
	current   *Database
	kinds     int // of keys, in all databases
}

// read reads an RDB up to its end mark.
func (p *rdbParser) read() error {
	if err := p.skip(magicSize); err != nil {
		return err
	}
	expires := false
	for {
		op, err := p.r.ReadByte()
		if err != nil {
			return err
		}
		switch op {
		case endMark:
			return nil
		case opExpire, opExpireMS:
			expires = true
			err = p.skip(map[byte]uint64{opExpire: 4, opExpireMS: 8}[op])
		case opIdle:
			_, err = p.length()
		case opFreq:
			err = p.skip(1)
		case opSelectDB:
			err = p.selectDB()
		case opResizeDB:
			err = p.lengths(2)
		case opSlotInfo:
			err = p.lengths(3)
		case auxField:
			err = p.strings(2)
		case opFunction:
			err = p.strings(1)
		case opModuleAux:
			err = p.module(2)
		default:
			err = p.key(op, expires)
			expires = false
		}
		if err != nil {
			return err
		}
	}
}

func (p *rdbParser) selectDB() error {
	n, err := p.length()
	if err != nil {
		return err
	}
	if n > math.MaxInt32 || len(p.databases) >= maxDatabases {
		return errors.New("it has too many databases")
	}
	p.current = p.databases[int(n)]
	if p.current == nil {
		p.current = &Database{kinds: make(map[string]*kind)}
		p.databases[int(n)] = p.current
	}
	return nil
}

// key reads a key and passes over its value.
func (p *rdbParser) key(valueType byte, expires bool) error {
	name, err := p.text(maxKind)
	if err != nil {
		return err
	}
	if p.current == nil {
		return errors.New("a key stands before its database")
	}
	name, _, _ = strings.Cut(name, ":")
	p.count(name, expires)
	return p.value(valueType)
}

// count counts a key of a kind.
func (p *rdbParser) count(name string, expires bool) {
	d := p.current
	k := d.kinds[name]
	if k == nil && p.kinds >= maxKinds {
		name = ""
		k = d.kinds[name]
	}
	if k == nil {
		k = new(kind)
		d.kinds[strings.Clone(name)] = k
		p.kinds++
	}
	d.Keys++
	if expires {
		d.Expires++
	} else {
		k.stays++
	}
}

// value passes over the value of a type. Most are strings, or so many of them as a length says. Streams and hashes whose fields
// expire are left out: Mastodon has none.
func (p *rdbParser) value(valueType byte) error {
	switch valueType {
	case 0, 9, 10, 11, 12, 13, 16, 17, 20: // a string, and what is packed into one
		return p.strings(1)
	case 1, 2, 14: // lists, sets, lists of packs
		return p.each(func() error { return p.strings(1) })
	case 4: // hashes
		return p.each(func() error { return p.strings(2) })
	case 3: // sorted sets with scores as texts
		return p.each(func() error { return errors.Join(p.strings(1), p.score()) })
	case 5: // sorted sets
		return p.each(func() error { return errors.Join(p.strings(1), p.skip(8)) })
	case 7:
		return p.module(0)
	case 18: // lists of packs, each with how it is packed
		return p.each(func() error { return errors.Join(p.lengths(1), p.strings(1)) })
	}
	return fmt.Errorf("it has values of the type %d", valueType)
}

// score passes over a number as text. Lengths above 252 stand for numbers that have no digits.
func (p *rdbParser) score() error {
	n, err := p.r.ReadByte()
	if err != nil || n > 252 {
		return err
	}
	return p.skip(uint64(n))
}

// module passes over what a module has written: its number, some lengths, and what says itself how long it is.
func (p *rdbParser) module(lengths int) error {
	err := p.lengths(1 + lengths)
	for err == nil {
		var kind uint64
		kind, err = p.length()
		switch {
		case err != nil || kind == 0:
			return err
		case kind == 1 || kind == 2:
			err = p.lengths(1)
		case kind == 3:
			err = p.skip(4)
		case kind == 4:
			err = p.skip(8)
		case kind == 5:
			err = p.strings(1)
		default:
			err = fmt.Errorf("it has a module's values of the type %d", kind)
		}
	}
	return err
}

// each calls f as often as a length says.
func (p *rdbParser) each(f func() error) error {
	n, err := p.length()
	for ; n > 0 && err == nil; n-- {
		err = f()
	}
	return err
}

func (p *rdbParser) lengths(n int) error {
	for range n {
		if _, err := p.length(); err != nil {
			return err
		}
	}
	return nil
}

func (p *rdbParser) strings(n int) error {
	for range n {
		if _, err := p.text(0); err != nil {
			return err
		}
	}
	return nil
}

func (p *rdbParser) skip(n uint64) error {
	for n > 0 {
		part := min(n, 1<<20)
		if _, err := p.r.Discard(int(part)); err != nil {
			return err
		}
		n -= part
	}
	return nil
}

// length reads a length.
func (p *rdbParser) length() (uint64, error) {
	n, special, err := p.lengthOrKind()
	if err == nil && special {
		err = errors.New("it has a string where a length belongs")
	}
	return n, err
}

// lengthOrKind reads a length, or the special kind of a string.
func (p *rdbParser) lengthOrKind() (n uint64, special bool, err error) {
	first, err := p.r.ReadByte()
	if err != nil {
		return 0, false, err
	}
	low := uint64(first & 0x3f)
	size := 0
	switch {
	case first>>6 == 0:
		return low, false, nil
	case first>>6 == 1:
		second, err := p.r.ReadByte()
		return low<<8 | uint64(second), false, err
	case first>>6 == 3:
		return low, true, nil
	case first == 0x80:
		size = 4
	case first == 0x81:
		size = 8
	default:
		return 0, false, fmt.Errorf("it has a length of the kind %d", first)
	}
	var b [8]byte
	_, err = io.ReadFull(p.r, b[8-size:])
	return binary.BigEndian.Uint64(b[:]), false, err
}

// text reads a string and returns its first bytes, limit at most. Integers have no text, as keys don't begin with them.
func (p *rdbParser) text(limit int) (string, error) {
	n, special, err := p.lengthOrKind()
	switch {
	case err != nil:
		return "", err
	case !special:
		return p.prefix(n, limit)
	case n < 3: // integers of 1, 2 and 4 bytes
		return "", p.skip(1 << n)
	case n == 3:
		return p.compressed(limit)
	}
	return "", fmt.Errorf("it has a string of the kind %d", n)
}

// prefix returns the first bytes of a text of n bytes and passes over the rest.
func (p *rdbParser) prefix(n uint64, limit int) (string, error) {
	b := make([]byte, min(n, uint64(limit)))
	if _, err := io.ReadFull(p.r, b); err != nil {
		return "", err
	}
	return string(b), p.skip(n - uint64(len(b)))
}

// compressed returns the first bytes of a text that LZF has compressed, and passes over the rest.
func (p *rdbParser) compressed(limit int) (string, error) {
	n, err := p.length()
	if err == nil {
		_, err = p.length()
	}
	if err != nil {
		return "", err
	}
	packed, err := p.prefix(n, 2*limit)
	return expand(packed, limit), err
}

// expand undoes LZF for the first bytes of a text, limit at most: runs of up to 32 bytes as they are, and repetitions of what has
// been, each with its distance.
func expand(packed string, limit int) string {
	var text []byte
	for len(packed) > 0 && len(text) < limit {
		n := int(packed[0])
		packed = packed[1:]
		if n < 32 {
			n = min(n+1, len(packed))
			text, packed = append(text, packed[:n]...), packed[n:]
			continue
		}
		length, far := n>>5, n&0x1f<<8
		if length == 7 && len(packed) > 0 {
			length, packed = length+int(packed[0]), packed[1:]
		}
		if len(packed) == 0 {
			break
		}
		from := len(text) - far - int(packed[0]) - 1
		if packed = packed[1:]; from < 0 {
			break
		}
		for range length + 2 {
			text = append(text, text[from])
			from++
		}
	}
	return string(text[:min(len(text), limit)])
}
