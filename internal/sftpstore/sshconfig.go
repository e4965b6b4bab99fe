package sftpstore

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kevinburke/ssh_config"
)

// systemConfig is read after the user's own file.
const systemConfig = "/etc/ssh/ssh_config"

// A host is where to connect to, as the configuration has it.
type host struct {
	alias string // as the user named it
	name  string // what the alias stands for
	port  int
	user  string
	jumps []string // hosts to go through, the nearest first

	identities     []string // private key files that were named
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

func readSSHConfig(file string) (*sshConfig, error) {
	me, err := user.Current()
	if err != nil {
		return nil, fmt.Errorf("reading ssh_config: %w", err)
	}
	c := &sshConfig{home: me.HomeDir, me: me.Username}
	if home := os.Getenv("HOME"); home != "" {
		c.home = home // what a shell's ~ is
	}
	files := []string{filepath.Join(c.home, ".ssh", "config"), systemConfig}
	switch file {
	case "none":
		return c, nil
	case "":
	default:
		files = []string{file}
	}
	for _, f := range files {
		err := c.scan(f, 0)
		if file == "" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading ssh_config: %w", err)
		}
		settings := new(ssh_config.UserSettings)
		settings.ConfigFinder(func() string { return f })
		if _, err := settings.GetStrict("host", "Port"); err != nil && c.beyond == "" {
			c.beyond = err.Error()
		}
		c.settings = append(c.settings, settings)
	}
	return c, nil
}

// scan looks for what ssh_config's reader does not know, or knows otherwise than ssh does: Match, but for Match all.
func (c *sshConfig) scan(file string, depth int) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		words := strings.FieldsFunc(lines.Text(), func(r rune) bool { return strings.ContainsRune(" \t=\"", r) })
		if len(words) < 2 {
			continue
		}
		switch strings.ToLower(words[0]) {
		case "match":
			if !strings.EqualFold(words[1], "all") {
				c.beyond = "Match " + words[1]
			}
		case "include":
			if depth == 5 { // where the reader stops too
				c.beyond = "Include, nested deeply"
				continue
			}
			for _, pattern := range words[1:] {
				matches, _ := filepath.Glob(c.included(pattern, file))
				for _, m := range matches {
					if err := c.scan(m, depth+1); err != nil {
						return err
					}
				}
			}
		}
	}
	return lines.Err()
}

func (c *sshConfig) included(pattern, from string) string {
	switch {
	case strings.HasPrefix(pattern, "~/"):
		return filepath.Join(c.home, pattern[2:])
	case filepath.IsAbs(pattern):
		return pattern
	case strings.HasPrefix(from, "/etc/ssh/"):
		return filepath.Join("/etc/ssh", pattern)
	}
	return filepath.Join(c.home, ".ssh", pattern)
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
