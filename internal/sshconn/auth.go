package sshconn

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// maxKeyFile bounds a private key file, in bytes. An RSA key of 16384 bits has 13 kB.
const maxKeyFile = 1 << 16

// agentTime bounds how long an agent may take to say which keys it has.
const agentTime = 10 * time.Second

// credentials are the ways to prove who one is to a host.
type credentials struct {
	signers   []ssh.Signer
	encrypted []string // key files that need a passphrase
	exposed   []string // key files that others may read, which are not used
	devices   []string // key files of which the secret is in a security key (FIDO), which only the ssh command can ask
	agent     net.Conn // the signers may need it; nil where there is none
}

// close ends the keys' use.
func (k *credentials) close() {
	if k.agent != nil {
		k.agent.Close()
	}
}

// readKeys gathers what the agent and the key files offer: files that were given first, each by the agent where that has it, then
// what else the agent has, then the files that ssh looks for by default.
func readKeys(h *host, home string) (*credentials, error) {
	k := new(credentials)
	var held []ssh.Signer // by the agent
	if h.agent != "" {
		// An agent that has ended is like none: the files may do.
		if conn, err := net.Dial("unix", h.agent); err == nil {
			k.agent = conn
			conn.SetDeadline(time.Now().Add(agentTime))
			held, _ = agent.NewClient(conn).Signers()
			conn.SetDeadline(time.Time{}) // a signature may have to be granted by a person
		}
	}
	for _, file := range h.identities {
		if err := k.add(file, held); err != nil && !errors.Is(err, fs.ErrNotExist) {
			k.close()
			return nil, fmt.Errorf("reading identity %s: %w", file, err)
		}
	}
	if !h.identitiesOnly {
		for _, s := range held {
			k.append(s)
		}
	}
	if len(h.identities) == 0 {
		for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
			k.add(filepath.Join(home, ".ssh", name), held) // what can't be read can't be used
		}
	}
	return k, nil
}

// add reads one key file: a private key, or a public one that the agent has the other half of.
func (k *credentials) add(file string, held []ssh.Signer) error {
	data, info, err := readFile(file, maxKeyFile)
	if err != nil {
		return err
	}
	var public ssh.PublicKey
	signer, err := ssh.ParsePrivateKey(data)
	var locked *ssh.PassphraseMissingError
	if (err == nil || errors.As(err, &locked)) && exposed(info) {
		k.exposed = append(k.exposed, file)
		return nil
	}
	if errors.As(err, &locked) {
		public = locked.PublicKey
		if public == nil {
			public, _ = readPublicKey(file + ".pub")
		}
		k.encrypted = append(k.encrypted, file)
	} else if public = deviceKey(data); err != nil && public != nil {
		k.devices = append(k.devices, file)
	} else if err != nil {
		if public, _, _, _, _ = ssh.ParseAuthorizedKey(data); public == nil {
			return err
		}
	}
	if signer != nil {
		public = signer.PublicKey()
	}
	for _, s := range held {
		if public != nil && string(s.PublicKey().Marshal()) == string(public.Marshal()) {
			signer = s
		}
	}
	if signer == nil {
		return nil
	}
	if public, err := readPublicKey(file + "-cert.pub"); err == nil {
		if cert, ok := public.(*ssh.Certificate); ok {
			if s, err := ssh.NewCertSigner(cert, signer); err == nil {
				k.append(s)
			}
		}
	}
	k.append(signer)
	return nil
}

// deviceKey returns the public half of a private key file that names a security key, or nil.
func deviceKey(data []byte) ssh.PublicKey {
	const magic = "openssh-key-v1\x00"
	block, _ := pem.Decode(data)
	if block == nil || !bytes.HasPrefix(block.Bytes, []byte(magic)) {
		return nil
	}
	var file struct {
		Cipher, KDF, KDFOptions string
		Keys                    uint32
		Public                  []byte
		Rest                    []byte `ssh:"rest"`
	}
	if ssh.Unmarshal(block.Bytes[len(magic):], &file) != nil {
		return nil
	}
	public, err := ssh.ParsePublicKey(file.Public)
	if err != nil || !strings.HasPrefix(public.Type(), "sk-") {
		return nil
	}
	return public
}

// A deviceKeyError says that the host lets nobody in but, maybe, by a security key.
type deviceKeyError struct{ error }

func (e *deviceKeyError) Unwrap() error { return e.error }

// append adds a signer that is not there yet.
func (k *credentials) append(signer ssh.Signer) {
	for _, s := range k.signers {
		if string(s.PublicKey().Marshal()) == string(signer.PublicKey().Marshal()) {
			return
		}
	}
	k.signers = append(k.signers, signer)
}

// exposed reports whether others may read a private key. As with ssh, that is the owner's own affair where it is not this
// process's user.
func exposed(key fs.FileInfo) bool {
	return int(key.Sys().(*syscall.Stat_t).Uid) == os.Geteuid() && key.Mode().Perm()&0o077 != 0
}

func readPublicKey(file string) (ssh.PublicKey, error) {
	data, _, err := readFile(file, maxKeyFile)
	if err != nil {
		return nil, err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(data)
	return key, err
}

// refused explains why the host let nobody in.
func (k *credentials) refused(h *host, err error) error {
	err = fmt.Errorf("logging in as %s: %w", h, err)
	switch {
	case len(k.devices) > 0:
		return &deviceKeyError{err}
	case len(k.exposed) > 0:
		return because(CauseKeyExposed, err, k.exposed...)
	case len(k.encrypted) > 0:
		return because(CauseKeyEncrypted, err, k.encrypted...)
	case len(k.signers) == 0:
		return because(CauseNoKey, err)
	}
	var fingerprints []string
	for _, s := range k.signers {
		fingerprints = append(fingerprints, ssh.FingerprintSHA256(s.PublicKey()))
	}
	return because(CauseKeyRefused, err, fingerprints...)
}
