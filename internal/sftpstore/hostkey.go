package sftpstore

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/kevinburke/ssh_config"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"permafrost/internal/hint"
)

// hostKeys checks the key of a host against known_hosts.
type hostKeys struct {
	host      *host
	accept    bool // take the key of an unknown host
	check     ssh.HostKeyCallback
	certified bool                  // a @cert-authority line speaks for the host
	known     []knownhosts.KnownKey // what known_hosts has

	err error // what the last callback returned
}

// recording keeps two connections from writing known_hosts at once.
var recording sync.Mutex

func readHostKeys(h *host, accept bool) (*hostKeys, error) {
	var files []string
	for _, f := range h.knownHosts {
		if _, err := os.Stat(f); err == nil {
			files = append(files, f)
		}
	}
	check, err := knownhosts.New(files...)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("reading known_hosts: %w", err), "mend or remove the line that the error names")
	}
	k := &hostKeys{host: h, accept: accept, check: check}
	// A key that nobody has makes the check tell which ones it wants.
	nobody, err := ssh.NewPublicKey(make(ed25519.PublicKey, ed25519.PublicKeySize))
	if err != nil {
		return nil, err
	}
	var unknown *knownhosts.KeyError
	if err := check(h.keyName, &net.TCPAddr{}, nobody); errors.As(err, &unknown) {
		k.known = unknown.Want
	}
	k.certified = hasAuthority(files, h.keyName)
	return k, nil
}

// hasAuthority tells whether a @cert-authority line of one of the files speaks for the host.
func hasAuthority(files []string, keyName string) bool {
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			words := strings.Fields(line)
			if len(words) < 2 || words[0] != "@cert-authority" {
				continue
			}
			var names ssh_config.Host
			for name := range strings.SplitSeq(words[1], ",") {
				if p, err := ssh_config.NewPattern(name); err == nil {
					names.Patterns = append(names.Patterns, p)
				}
			}
			if names.Matches(knownhosts.Normalize(keyName)) {
				return true
			}
		}
	}
	return false
}

// algorithms returns which kinds of host key to ask for: those that known_hosts can confirm, or all of an unknown host.
func (k *hostKeys) algorithms() []string {
	kinds := make(map[string]bool)
	for _, known := range k.known {
		kinds[known.Key.Type()] = true
	}
	return slices.DeleteFunc(ssh.SupportedAlgorithms().HostKeys, func(algorithm string) bool {
		if strings.Contains(algorithm, "-cert-") {
			return !k.certified
		}
		kind := algorithm
		if strings.HasPrefix(algorithm, "rsa-sha2-") {
			kind = ssh.KeyAlgoRSA
		}
		return len(kinds) > 0 && !kinds[kind]
	})
}

// callback is an ssh.HostKeyCallback.
func (k *hostKeys) callback(_ string, _ net.Addr, key ssh.PublicKey) error {
	k.err = k.verify(key)
	return k.err
}

func (k *hostKeys) verify(key ssh.PublicKey) error {
	err := k.check(k.host.keyName, &net.TCPAddr{}, key)
	if err == nil {
		return nil
	}
	name := knownhosts.Normalize(k.host.keyName)
	var ke *knownhosts.KeyError
	switch {
	case !errors.As(err, &ke):
		return fmt.Errorf("checking the host key of %s: %w", name, err)
	case len(ke.Want) > 0:
		return k.changed(ke.Want[0], fmt.Errorf("it shows %s %s", key.Type(), ssh.FingerprintSHA256(key)))
	case !k.accept:
		return hint.Wrap(fmt.Errorf("the host key of %s is not known: %s %s", name, key.Type(), ssh.FingerprintSHA256(key)),
			"compare this fingerprint with the server's own, then say --accept-new-host-key once")
	}
	if err := record(k.host.knownHosts, name, key); err != nil {
		return fmt.Errorf("recording the host key of %s: %w", name, err)
	}
	return nil
}

// changed is the error of a host whose key is none of those known.
func (k *hostKeys) changed(where knownhosts.KnownKey, err error) error {
	name := knownhosts.Normalize(k.host.keyName)
	return hint.Wrap(fmt.Errorf("the host key of %s is not the one in %s, line %d: %w", name, where.Filename, where.Line, err),
		"somebody may be listening in; if the server was set up anew, remove the old key: ssh-keygen -f "+where.Filename+" -R '"+name+"'")
}

// record appends the key to the first of the files.
func record(files []string, name string, key ssh.PublicKey) error {
	if len(files) == 0 {
		return errors.New("there is no known_hosts file to put it in")
	}
	recording.Lock()
	defer recording.Unlock()
	if err := os.MkdirAll(filepath.Dir(files[0]), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(files[0], os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	line := knownhosts.Line([]string{name}, key) + "\n"
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], info.Size()-1); err == nil && last[0] != '\n' {
			line = "\n" + line
		}
	}
	if _, err := f.WriteString(line); err != nil {
		return err
	}
	return f.Close()
}
