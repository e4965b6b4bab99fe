package sftpstore

import "time"

// Config says where a repository is and how to get there. Host and Path are required; the zero value of everything
// else is the default.
type Config struct {
	Host string // name, address, or Host of the user's ssh_config
	Port int    // 0: as ssh_config says, or 22
	User string // "": as ssh_config says, or the operating system's name of the user
	Path string // where it doesn't begin with '/' it begins at the login directory

	IdentityFiles    []string // private keys, tried before all others
	ConfigFile       string   // in place of ~/.ssh/config and /etc/ssh/ssh_config; "none" for no file at all
	KnownHostsFiles  []string // in place of those that ssh_config names
	AcceptNewHostKey bool     // takes and records the key of a host that known_hosts doesn't know

	UseCommand bool   // has the ssh command connect, even where ssh_config doesn't ask for it
	Command    string // the ssh command; "" is "ssh"

	Connections int           // SSH connections at most; 0 is 2
	Channels    int           // SFTP channels a connection at most; 0 lets the round-trip time decide
	RetryBudget time.Duration // how long to go on without any progress while the server can't be reached; 0 is 5 minutes
	DialTimeout time.Duration // for one attempt to connect and log in; 0 is 30 seconds
	Timeout     time.Duration // a connection on which nothing arrives for so long is dead; 0 is 1 minute

	// Each gets texts for a person, from any goroutine; nil drops them.
	Warn    func(text string) // what is amiss on this machine; once each
	Lasting func(text string) // what is so with this server on every run; once each
	Waiting func(text string) // what is waited for, where that takes more than a moment
}

func (c *Config) setDefaults() {
	if c.Command == "" {
		c.Command = "ssh"
	}
	if c.Connections <= 0 {
		c.Connections = 2
	}
	if c.RetryBudget == 0 {
		c.RetryBudget = 5 * time.Minute
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
	if c.Lasting == nil {
		c.Lasting = func(string) {}
	}
	if c.Waiting == nil {
		c.Waiting = func(string) {}
	}
}
