package sshconn

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kevinburke/ssh_config"

	"permafrost/internal/hostfs"
)

// systemConfig is read after the user's own file.
const systemConfig = "/etc/ssh/ssh_config"

// A host is where to connect to, as the configuration has it.
type host struct {
	alias string // as the user wrote it
	name  string // what the alias stands for
	port  int
	user  string
	jumps []string // hosts to go through, the nearest first

	identities     []string // private key files that were given
	identitiesOnly bool     // no other keys
	agent          string   // the agent's socket, "" for none

	keyName    string   // host:port, under which known_hosts has the host
	knownHosts []string // files; the first takes new keys
}

func (h *host) address() string { return net.JoinHostPort(h.name, strconv.Itoa(h.port)) }

func (h *host) String() string { return h.user + "@" + h.address() }

// sshConfig is what the user's and the system's ssh_config say.
type sshConfig struct {
	settings []*ssh_config.UserSettings // of each file that is there; the first that says something counts
	home     string
	me       string // the operating system's name of the user
	beyond   string // what in the files is beyond this reader, or ""
}

// readSSHConfig reads the file, or where it is "" the user's own and the system's. As with ssh, the home directory is the one
// that the user database has: $HOME may be another user's, who would decide what root does.
func readSSHConfig(file string) (*sshConfig, error) {
	me, err := hostfs.LookupUID(uint32(os.Geteuid()), uint32(os.Getegid()))
	if err != nil {
		return nil, fmt.Errorf("reading ssh_config: %w", err)
	}
	if me.Name == "" {
		return nil, fmt.Errorf("reading ssh_config: this host knows no user %d", me.UID)
	}
	c := &sshConfig{home: filepath.Join("/", me.Home), me: me.Name}
	if err := c.read(file); err != nil {
		return nil, fmt.Errorf("reading ssh_config: %w", err)
	}
	return c, nil
}

func (c *sshConfig) read(file string) error {
	switch file {
	case "none", os.DevNull:
		return nil
	case "":
	default:
		return c.readFile(file, true)
	}
	err := c.readFile(filepath.Join(c.home, ".ssh", "config"), true)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = c.readFile(systemConfig, false)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return err
}

// get returns the first value of the keyword for the host, or "" where no file sets it.
func (c *sshConfig) get(alias, keyword string) string {
	if all := c.all(alias, keyword); len(all) > 0 {
		return all[0]
	}
	return ""
}

func (c *sshConfig) all(alias, keyword string) []string {
	for _, settings := range c.settings {
		all := settings.GetAll(alias, keyword)
		if len(all) > 1 || len(all) == 1 && all[0] != ssh_config.Default(keyword) {
			return all
		}
	}
	return nil
}

// asksForCommand tells what the configuration wants of this host that only the ssh command can do, or "".
func (c *sshConfig) asksForCommand(alias string) string {
	if c.beyond != "" {
		return c.beyond
	}
	for keyword, harmless := range map[string]string{
		"ProxyCommand": "none", "KnownHostsCommand": "none", "PKCS11Provider": "none", "RevokedHostKeys": "none",
		"SecurityKeyProvider": "internal", "HostbasedAuthentication": "no", "CanonicalizeHostname": "no",
		"VerifyHostKeyDNS": "no", "AddressFamily": "any", "CertificateFile": "none", "BindAddress": "", "BindInterface": "",
		"Ciphers": "", "MACs": "", "KexAlgorithms": "", "HostKeyAlgorithms": "", "PubkeyAcceptedAlgorithms": "",
		"CASignatureAlgorithms": "",
	} {
		if v := c.get(alias, keyword); v != "" && !strings.EqualFold(v, harmless) {
			return keyword
		}
	}
	return ""
}

// resolve says what a host's name stands for. What Config sets goes before what the files say.
func (c *sshConfig) resolve(alias string, o *Config) (*host, error) {
	h := &host{alias: alias, name: alias, user: o.User, port: o.Port}
	if h.user == "" {
		h.user = c.get(alias, "User")
	}
	if h.user == "" {
		h.user = c.me
	}
	if port := c.get(alias, "Port"); h.port == 0 && port != "" {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return nil, fmt.Errorf("ssh_config: Port of %s is %q", alias, port)
		}
		h.port = n
	}
	if h.port == 0 {
		h.port = 22
	}
	if name := c.get(alias, "HostName"); name != "" {
		h.name = strings.NewReplacer("%%", "%", "%h", alias).Replace(name)
	}
	if jump := c.get(alias, "ProxyJump"); jump != "" && !strings.EqualFold(jump, "none") {
		h.jumps = strings.Split(strings.ReplaceAll(jump, " ", ""), ",")
	}
	c.identities(h, o)
	c.hostKeys(h, o)
	return h, nil
}

func (c *sshConfig) identities(h *host, o *Config) {
	h.identities = append(h.identities, o.IdentityFiles...)
	for _, f := range c.all(h.alias, "IdentityFile") {
		if !strings.EqualFold(f, "none") {
			h.identities = append(h.identities, c.expand(f, h))
		}
	}
	h.identitiesOnly = strings.EqualFold(c.get(h.alias, "IdentitiesOnly"), "yes")
	h.agent = os.Getenv("SSH_AUTH_SOCK")
	switch a := c.get(h.alias, "IdentityAgent"); {
	case strings.EqualFold(a, "none"):
		h.agent = ""
	case a != "" && a != "SSH_AUTH_SOCK":
		h.agent = c.expand(strings.TrimPrefix(a, "$"), h)
		if strings.HasPrefix(a, "$") {
			h.agent = os.Getenv(strings.Trim(a, "${}"))
		}
	}
}

func (c *sshConfig) hostKeys(h *host, o *Config) {
	// In small letters, as ssh compares names: by capitals a known host would be an unknown one.
	h.keyName = strings.ToLower(h.address())
	if alias := c.get(h.alias, "HostKeyAlias"); alias != "" {
		h.keyName = net.JoinHostPort(strings.ToLower(alias), "22") // which known_hosts writes as the bare name
	}
	if len(o.KnownHostsFiles) > 0 {
		h.knownHosts = o.KnownHostsFiles
		return
	}
	users, globals := c.get(h.alias, "UserKnownHostsFile"), c.get(h.alias, "GlobalKnownHostsFile")
	if users == "" {
		users = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
	}
	if globals == "" {
		globals = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"
	}
	for _, f := range strings.Fields(users + " " + globals) {
		if !strings.EqualFold(f, "none") {
			h.knownHosts = append(h.knownHosts, c.expand(strings.Trim(f, `"`), h))
		}
	}
}

// expand puts in what ssh_config's tokens stand for.
func (c *sshConfig) expand(file string, h *host) string {
	if rest, ok := strings.CutPrefix(file, "~/"); ok {
		file = filepath.Join(c.home, rest)
	}
	local, _ := os.Hostname()
	return strings.NewReplacer("%%", "%", "%d", c.home, "%h", h.name, "%l", local, "%n", h.alias, "%p", strconv.Itoa(h.port),
		"%r", h.user, "%u", c.me).Replace(file)
}
