package sftpserver

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"syscall"

	"permafrost/internal/wire"
)

// Kinds of packets.
const (
	fxpInit          = 1
	fxpVersion       = 2
	fxpOpen          = 3
	fxpClose         = 4
	fxpRead          = 5
	fxpWrite         = 6
	fxpLstat         = 7
	fxpFstat         = 8
	fxpSetstat       = 9
	fxpFsetstat      = 10
	fxpOpendir       = 11
	fxpReaddir       = 12
	fxpRemove        = 13
	fxpMkdir         = 14
	fxpRmdir         = 15
	fxpRealpath      = 16
	fxpStat          = 17
	fxpRename        = 18
	fxpReadlink      = 19
	fxpSymlink       = 20
	fxpStatus        = 101
	fxpHandle        = 102
	fxpData          = 103
	fxpName          = 104
	fxpAttrs         = 105
	fxpExtended      = 200
	fxpExtendedReply = 201
)

// Flags of SSH_FXP_OPEN.
const (
	flagRead   = 0x01
	flagWrite  = 0x02
	flagAppend = 0x04
	flagCreate = 0x08
	flagTrunc  = 0x10
	flagExcl   = 0x20
)

// Flags of attributes.
const (
	attrSize  = 0x01
	attrPerm  = 0x04
	attrTimes = 0x08
)

var (
	errUnsupported = errors.New("not supported")
	errMalformed   = errors.New("malformed request")
)

// fields reads what a packet holds. As in wire the first error sticks.
type fields struct{ *wire.Reader }

func newFields(b []byte) fields { return fields{wire.NewReader(b)} }

func (f fields) uint32() uint32 {
	if b := f.Bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (f fields) uint64() uint64 {
	if b := f.Bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (f fields) bytes() []byte { return f.Bytes(int(f.uint32())) }
func (f fields) text() string  { return string(f.bytes()) }

// A reply is a packet under way: its kind, and what follows its id.
type reply struct {
	kind byte // 0: none yet
	body []byte
}

func (r *reply) reset()          { r.kind, r.body = 0, r.body[:0] }
func (r *reply) uint32(v uint32) { r.body = binary.BigEndian.AppendUint32(r.body, v) }
func (r *reply) uint64(v uint64) { r.body = binary.BigEndian.AppendUint64(r.body, v) }

func (r *reply) text(s string) {
	r.uint32(uint32(len(s)))
	r.body = append(r.body, s...)
}

func (r *reply) attrs(info fs.FileInfo) {
	mode := uint32(info.Mode().Perm()) | syscall.S_IFREG
	if info.IsDir() {
		mode = uint32(info.Mode().Perm()) | syscall.S_IFDIR
	}
	time := uint32(info.ModTime().Unix())
	r.uint32(attrSize | attrPerm | attrTimes)
	r.uint64(uint64(info.Size()))
	r.uint32(mode)
	r.uint32(time)
	r.uint32(time)
}

// status makes the reply one that tells nothing but how a request went.
func (r *reply) status(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	r.tell(statusOf(err), text)
}

// failure is status with the code by which clients show the text.
func (r *reply) failure(err error) { r.tell(4, err.Error()) }

func (r *reply) tell(code uint32, text string) {
	r.reset()
	r.kind = fxpStatus
	r.uint32(code)
	r.text(text)
	r.text("en")
}

// statusOf returns the protocol's code, which is as near to OpenSSH's as can be.
func statusOf(err error) uint32 {
	switch {
	case err == nil:
		return 0
	case err == io.EOF:
		return 1
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return 2
	case errors.Is(err, fs.ErrPermission):
		return 3
	case err == errMalformed:
		return 5
	case err == errUnsupported:
		return 8
	}
	return 4
}

func (r *reply) send(id uint32, out io.Writer) error {
	head := binary.BigEndian.AppendUint32(make([]byte, 0, 9), uint32(5+len(r.body)))
	head = binary.BigEndian.AppendUint32(append(head, r.kind), id)
	if _, err := out.Write(head); err != nil {
		return err
	}
	_, err := out.Write(r.body)
	return err
}
