package sshconn

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Config says which server to connect to, and how to get in. Host is required; the zero value of everything else is the
// default.
type Config struct {
	Host string // name, address, or Host of the user's ssh_config
	Port int    // 0: as ssh_config says, or 22
	User string // "": as ssh_config says, or the operating system's name of the user

	IdentityFiles    []string // private keys, tried before all others
	ConfigFile       string   // in place of ~/.ssh/config and /etc/ssh/ssh_config; "none" for no file at all
	KnownHostsFiles  []string // in place of those that ssh_config names
	AcceptNewHostKey bool     // takes and records the key of a host that known_hosts doesn't know

	UseCommand bool   // has the ssh command connect, even where ssh_config doesn't ask for it
	Command    string // the ssh command; "" is "ssh"

	DialTimeout time.Duration // for one attempt to connect and log in; 0 is 30 seconds
	Timeout     time.Duration // a connection on which nothing arrives for so long is dead; 0 is 1 minute

	// Warn gets texts for a person, from any goroutine, on what is amiss on this machine: once each. nil drops them.
	Warn func(text string)
}

// SetDefaults fills in the defaults of what is left at zero.
func (c *Config) SetDefaults() {
	if c.Command == "" {
		c.Command = "ssh"
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = 30 * time.Second
	}
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	if c.Warn == nil {
		c.Warn = func(string) {}
	}
}

// Check refuses what would be misread on its way to the server or to the ssh command.
func (c *Config) Check() error {
	switch {
	case c.Host == "":
		return errors.New("the host is missing")
	case !validHost(c.Host):
		return errors.New("the host name is not valid")
	case strings.HasPrefix(c.User, "-") || strings.ContainsAny(c.User, " \t\r\n\x00\"'\\"):
		return errors.New("the user name is not valid")
	}
	return nil
}

func validHost(host string) bool {
	if strings.Contains(host, ":") {
		_, err := netip.ParseAddr(host)
		return err == nil && !strings.Contains(host, "%")
	}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	return host[0] != '-' && strings.Trim(host, letters) == ""
}

// ParseURL reads scheme://[user@]host[:port]/path, of any scheme, and fills in Host, Port and User. An error quotes
// nothing of the URL: it may have a password, which is refused. Check is for the caller to call.
func ParseURL(s string) (c Config, path string, err error) {
	u, err := url.Parse(s)
	if err != nil {
		return Config{}, "", errors.New("host, port or percent-encoding is malformed") // net/url quotes what may be a password
	}
	if _, ok := u.User.Password(); ok {
		return Config{}, "", errors.New("a password has no place in it; use a key")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return Config{}, "", errors.New("it has a query or a fragment; write '?' as %3F and '#' as %23")
	}
	c = Config{Host: u.Hostname(), User: u.User.Username()}
	if port := u.Port(); port != "" {
		if c.Port, err = strconv.Atoi(port); err != nil || c.Port < 1 || c.Port > 65535 {
			return Config{}, "", errors.New("the port is not between 1 and 65535")
		}
	}
	return c, u.Path, nil
}
