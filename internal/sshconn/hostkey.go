package sshconn

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/kevinburke/ssh_config"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
)

// hostKeys checks the key of a host against known_hosts.
type hostKeys struct {
	host      *host
	accept    bool // take the key of an unknown host
	check     ssh.HostKeyCallback
	certified bool                  // a @cert-authority line speaks for the host
	known     []knownhosts.KnownKey // what known_hosts has

	files  map[string]string // what is read in place of a known_hosts file, and that
	passed []string          // lines that can't be read, of whatever host
	unread string            // a line that can't be read and may name the host, or ""

	err error // what the last callback returned
}

// recording keeps two connections from writing known_hosts at once.
var recording sync.Mutex

func readHostKeys(h *host, accept bool) (*hostKeys, error) {
	k := &hostKeys{host: h, accept: accept, files: make(map[string]string)}
	var files []string // and their readable copies
	var copies []string
	for _, f := range h.knownHosts {
		data, err := readKnownHosts(f)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading known_hosts: %w", err)
		}
		c, err := memoryFile(k.readable(f, data))
		if err != nil {
			return nil, fmt.Errorf("reading known_hosts: %w", err)
		}
		defer c.Close()
		files, copies = append(files, f), append(copies, c.Name())
		k.files[c.Name()] = f
	}
	var err error
	if k.check, err = knownhosts.New(copies...); err != nil {
		return nil, becausef(CauseKnownHosts, "reading known_hosts: %w", err)
	}
	// A key that nobody has makes the check tell which ones it wants.
	nobody, err := ssh.NewPublicKey(make(ed25519.PublicKey, ed25519.PublicKeySize))
	if err != nil {
		return nil, err
	}
	var unknown *knownhosts.KeyError
	if err := k.check(h.keyName, &net.TCPAddr{}, nobody); errors.As(err, &unknown) {
		k.known = unknown.Want
	}
	k.certified = hasAuthority(files, h.keyName)
	return k, nil
}

// maxKnownHosts bounds a known_hosts file, in bytes.
const maxKnownHosts = 16 << 20

// readKnownHosts returns a file's content. What is no regular file, such as /dev/null, names nobody.
func readKnownHosts(file string) ([]byte, error) {
	data, _, err := readFile(file, maxKnownHosts)
	if errors.Is(err, hostfs.ErrNotRegular) {
		return nil, nil
	}
	return data, err
}

// memoryFile returns a file in memory, by the name under which it can be opened while it is open: the library reads
// files alone.
func memoryFile(data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("known_hosts", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), fmt.Sprintf("/proc/self/fd/%d", fd))
	if _, err := f.Write(data); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// readable returns a known_hosts file with its names in small letters, as ssh compares them, and without the lines that
// the library can't read, which other programs may: an old kind of key, or a newer one. A line that is left out may be of
// this host; then no key is accepted as new.
func (k *hostKeys) readable(file string, data []byte) []byte {
	var out bytes.Buffer
	number := 0
	for line := range bytes.Lines(data) {
		number++
		words := strings.Fields(string(line))
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			out.WriteByte('\n')
			continue
		}
		names := 0
		if strings.HasPrefix(words[0], "@") && len(words) > 1 {
			names = 1
		}
		if !strings.HasPrefix(words[names], "|") {
			words[names] = strings.ToLower(words[names])
		}
		text := strings.Join(words, " ") + "\n"
		if _, _, _, _, _, err := ssh.ParseKnownHosts([]byte(text)); err != nil {
			k.passed = append(k.passed, fmt.Sprintf("%s, line %d", file, number))
			if k.unread == "" && (strings.HasPrefix(words[names], "|") || namesHost(words[names], k.host.keyName)) {
				k.unread = fmt.Sprintf("%s, line %d", file, number)
			}
			text = "\n"
		}
		out.WriteString(text)
	}
	return out.Bytes()
}

// warning names the lines that were passed over, or is empty.
func (k *hostKeys) warning() string {
	const most = 3
	switch n := len(k.passed); {
	case n == 0:
		return ""
	case n > most:
		return fmt.Sprintf("%d lines of known_hosts can't be read and are ignored, such as %s", n, k.passed[0])
	}
	return strings.Join(k.passed, " and ") + " can't be read and is ignored: it is cut, or has an unknown kind of key"
}

// namesHost reports whether a list of patterns, as known_hosts has it, matches a host.
func namesHost(list, keyName string) bool {
	var names ssh_config.Host
	for name := range strings.SplitSeq(list, ",") {
		if p, err := ssh_config.NewPattern(name); err == nil {
			names.Patterns = append(names.Patterns, p)
		}
	}
	return names.Matches(knownhosts.Normalize(keyName))
}

// hasAuthority tells whether a @cert-authority line of one of the files speaks for the host.
func hasAuthority(files []string, keyName string) bool {
	for _, f := range files {
		data, err := readKnownHosts(f)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			words := strings.Fields(line)
			if len(words) >= 2 && words[0] == "@cert-authority" && namesHost(strings.ToLower(words[1]), keyName) {
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
		return becausef(CauseHostKeyUnknown, "the host key of %s is not known: %s %s", name, key.Type(), ssh.FingerprintSHA256(key))
	case k.unread != "":
		return becausef(CauseHostKeyUnclear, "the host key of %s may be known already, by a line that can't be read: %s", name, k.unread)
	}
	if err := record(k.host.knownHosts, name, key); err != nil {
		return fmt.Errorf("recording the host key of %s: %w", name, err)
	}
	return nil
}

// changed is the error of a host whose key is none of those known.
func (k *hostKeys) changed(where knownhosts.KnownKey, err error) error {
	name := knownhosts.Normalize(k.host.keyName)
	if file, ok := k.files[where.Filename]; ok {
		where.Filename = file
	}
	return because(CauseHostKeyChanged, fmt.Errorf("the host key of %s is not the one in %s, line %d: %w", name, where.Filename, where.Line, err),
		where.Filename, name)
}

// record appends the key to the first of the files.
func record(files []string, name string, key ssh.PublicKey) error {
	if len(files) == 0 {
		return errors.New("there is no known_hosts file to put it in")
	}
	recording.Lock()
	defer recording.Unlock()
	f, err := openKnownHosts(files[0])
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

// openKnownHosts opens a known_hosts file to add to it, or makes it. A process of root does that with the rights of whoever
// decides where its path leads.
func openKnownHosts(file string) (f *os.File, err error) {
	if file, err = filepath.Abs(file); err != nil {
		return nil, err
	}
	var u *hostfs.User
	p, err := resolve(file)
	switch {
	case err == nil:
		u, err = p.Reader()
		p.Close()
	case errors.Is(err, fs.ErrNotExist):
		var d *hostfs.Dir
		if d, err = hostfs.MakeDir(filepath.Dir(file)); err == nil {
			u = d.User()
			d.Close()
		}
	}
	if err != nil {
		return nil, err
	}
	err = u.Do(func() error {
		f, err = os.OpenFile(file, os.O_RDWR|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK, 0o600)
		return err
	})
	return f, err
}
