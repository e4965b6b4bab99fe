// Package sftpserver is an SFTP server for one repository: a forced command of an SSH account, which serves one channel on
// its standard input and output. It knows what the repository's store does, sftpstore, and refuses everything else.
//
// # What holds
//
// There is what a repository has, config, reserve, keys/, packs/ab/, index/, manifests/, log/, leases/ and tmp/, and nothing else: other
// names can't be seen or made, symbolic links are not followed, and no path leaves the root. Paths are those of the host;
// relative ones begin at the root.
//
// A file is opened for writing below tmp/ alone. Several sessions of one client write to it, which are let in by its name: that
// is 130 random bits, and files below tmp/ are not listed before they are two days old, which is longer than an upload lives.
//
// An object comes into being by hardlink@openssh.com from tmp/ to a name that is not taken and that an object can have. Where
// objects of that kind are named by their SHA-256, the file must have that. From that moment on nothing changes it: attributes
// can't be set, nothing is renamed, and a file with a committed name is sealed, so that no handle writes to it, in whatever
// process it was opened and by whatever name.
// With Config.AppendOnly it can't be removed either; leases and files below tmp/, which hold nothing committed, can.
//
// All this is among servers of this package, of which each SSH channel has one of its own. What else writes to the root,
// OpenSSH's own server or a shell, is trusted.
//
// # The protocol
//
// Version 3, draft-ietf-secsh-filexfer-02, with OpenSSH's extensions fsync, hardlink, limits and statvfs. Requests are
// answered one after the other, in their order. Files are made 0600, are 0400 once they are committed, and directories 0700.
package sftpserver

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Config says what is served.
type Config struct {
	Root       string // the repository's directory, which must be there
	AppendOnly bool   // committed objects can't be removed
}

const (
	// maxPacket is what OpenSSH takes, and maxData what of it may be a file's bytes.
	maxPacket = 256 << 10
	maxData   = maxPacket - 1<<10
	// maxHandles is four times what one channel of the store holds while it lists.
	maxHandles = 256
	// leftUpload is the age at which a file below tmp/ is listed: the store gives up an upload after a day, and a prune removes
	// what is left of one after three.
	leftUpload = 48 * time.Hour
	// listed is how many names a packet of a listing brings, as OpenSSH has it.
	listed = 100
)

// Serve answers a client until in ends.
func Serve(c Config, in io.Reader, out io.Writer) error {
	t, err := openTree(c)
	if err != nil {
		err = fmt.Errorf("serving %s: %w", c.Root, err)
		refuse(err, in, out)
		return err
	}
	defer t.close()
	s := &session{tree: t, handles: make(map[uint32]*handle), reply: reply{body: make([]byte, 0, maxPacket)}}
	defer s.closeAll()
	if err := s.serve(bufio.NewReaderSize(in, 64<<10), bufio.NewWriterSize(out, 64<<10)); err != nil {
		return fmt.Errorf("serving %s: %w", c.Root, err)
	}
	return nil
}

// refuse greets a client, and answers whatever it asks with the reason why it is not served: sshd passes on nothing that a
// forced command says otherwise.
func refuse(why error, in io.Reader, out io.Writer) {
	s := new(session)
	packet := make([]byte, maxPacket)
	for {
		n, err := readPacket(in, packet)
		if err != nil {
			return
		}
		if packet[0] == fxpInit {
			err = s.greet(out)
		} else {
			id := newFields(packet[1:n]).uint32()
			s.reply.failure(why)
			err = s.reply.send(id, out)
		}
		if err != nil {
			return
		}
	}
}

// A session is one client's.
type session struct {
	tree    *tree
	handles map[uint32]*handle
	last    uint32 // handle given
	reply   reply  // its memory is used again
}

// A handle is an open file or directory.
type handle struct {
	*os.File
	name  string
	write bool
}

// serve answers requests. What is answered is held back only for as long as more is there to be read.
func (s *session) serve(in *bufio.Reader, out *bufio.Writer) error {
	packet := make([]byte, maxPacket)
	for {
		if in.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
		n, err := readPacket(in, packet)
		if err == io.EOF {
			return out.Flush()
		}
		if err != nil {
			return err
		}
		if err := s.answer(packet[:n], out); err != nil {
			return err
		}
	}
}

// readPacket reads a packet without its length, which it returns. io.EOF is an end between two packets.
func readPacket(in io.Reader, p []byte) (int, error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > uint32(len(p)) {
		return 0, fmt.Errorf("the client sends a packet of %d bytes", n)
	}
	if _, err := io.ReadFull(in, p[:n]); err != nil {
		return 0, errors.New("the client's last packet is cut")
	}
	return int(n), nil
}

// answer answers one packet.
func (s *session) answer(packet []byte, out io.Writer) error {
	kind, f := packet[0], newFields(packet[1:])
	if kind == fxpInit {
		return s.greet(out)
	}
	id := f.uint32()
	r := &s.reply
	r.reset()
	err := errUnsupported
	if do := requests[kind]; do != nil {
		err = do(s, f, r)
	}
	if f.Err() != nil {
		err = errMalformed
	}
	if err != nil || r.kind == 0 {
		r.status(err)
	}
	return r.send(id, out)
}

func (s *session) closeAll() {
	for _, h := range s.handles {
		h.Close()
	}
}
