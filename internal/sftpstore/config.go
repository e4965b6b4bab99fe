package sftpstore

import (
	"time"

	"permafrost/internal/sshconn"
)

// Config says where a repository is and how to get there. Host and Path are required; the zero value of everything
// else is the default.
type Config struct {
	sshconn.Config // which server, and how to get in

	Path string // where it doesn't begin with '/' it begins at the login directory

	Connections int           // SSH connections at most; 0 is 2
	Channels    int           // SFTP channels a connection at most; 0 lets the round-trip time decide
	RetryBudget time.Duration // how long to go on without any progress while the server can't be reached; 0 is 5 minutes

	// Each gets texts for a person, from any goroutine; nil drops them.
	Lasting func(text string) // what is so with this server on every run; once each
	Waiting func(text string) // what is waited for, where that takes more than a moment
}

func (c *Config) setDefaults() {
	c.Config.SetDefaults()
	if c.Connections <= 0 {
		c.Connections = 2
	}
	if c.RetryBudget == 0 {
		c.RetryBudget = 5 * time.Minute
	}
	if c.Lasting == nil {
		c.Lasting = func(string) {}
	}
	if c.Waiting == nil {
		c.Waiting = func(string) {}
	}
}
