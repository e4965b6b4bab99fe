package sftpstore

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"

	"permafrost/internal/sshconn"
)

// Parse reads where a repository is. Two forms are understood:
//
//	sftp:[user@]host:path            as scp has it; a path without a leading '/' begins at the login directory, as ~/ does.
//	                                 host may be a Host of ~/.ssh/config, or an IPv6 address in brackets
//	sftp://[user@]host[:port]/path   a URL, percent-encoded where need be; its path is absolute.
//	                                 A path that begins with /~/ begins at the login directory
//
// Neither takes a password. Parse fills in Host, Port, User and Path; the rest of Config is left at its defaults.
func Parse(s string) (Config, error) {
	c, err := parse(s)
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return Config{}, fmt.Errorf("%q is no SFTP repository: %w", redact(s), err)
	}
	return c, nil
}

func parse(s string) (Config, error) {
	if strings.HasPrefix(s, "sftp://") {
		return parseURL(s)
	}
	rest, ok := strings.CutPrefix(s, "sftp:")
	if !ok {
		return Config{}, errors.New("it begins with neither sftp: nor sftp://")
	}
	// The host ends at the first colon, but that of an IPv6 address after its brackets.
	end := strings.IndexByte(rest, ':')
	if open := strings.IndexByte(rest, '['); open >= 0 && open < end {
		end = strings.Index(rest, "]:") + 1
	}
	if end <= 0 {
		return Config{}, errors.New("host or path is missing; write sftp:user@host:/path")
	}
	c := Config{Config: sshconn.Config{Host: rest[:end]}, Path: rest[end+1:]}
	switch home, ok := strings.CutPrefix(c.Path, "~/"); {
	case ok:
		c.Path = path.Clean("./" + home)
	case c.Path == "~":
		c.Path = "."
	case strings.HasPrefix(c.Path, "~"):
		return Config{}, errors.New("only one's own login directory can be named by ~; a directory of such a name is ./" + c.Path)
	}
	if at := strings.LastIndexByte(c.Host, '@'); at >= 0 {
		c.User, c.Host = c.Host[:at], c.Host[at+1:]
	}
	if address, ok := strings.CutPrefix(c.Host, "["); ok {
		c.Host = strings.TrimSuffix(address, "]")
	}
	return c, nil
}

func parseURL(s string) (Config, error) {
	server, p, err := sshconn.ParseURL(s)
	if err != nil {
		return Config{}, err
	}
	if home, ok := strings.CutPrefix(p, "/~/"); ok {
		p = home
		if p == "" {
			return Config{}, errors.New("the path is missing")
		}
	}
	return Config{Config: server, Path: p}, nil
}

// check refuses what would be misread on its way to the server or to the ssh command.
func (c *Config) check() error {
	if err := c.Config.Check(); err != nil {
		return err
	}
	switch {
	case c.Path == "":
		return errors.New("the path is missing")
	case strings.ContainsAny(c.Path, "\r\n\x00"):
		return errors.New("the path is not valid")
	}
	c.Path = path.Clean(c.Path)
	return nil
}

// redact takes a password out of what a person may have written.
func redact(s string) string {
	_, rest, isURL := strings.Cut(s, "://")
	if !isURL {
		rest = strings.TrimPrefix(s, "sftp:")
	}
	at := strings.LastIndexByte(rest, '@')
	name, _, ok := strings.Cut(rest[:max(at, 0)], ":")
	if !ok || !isURL && strings.Contains(name, "@") { // that of a path
		return s
	}
	return s[:len(s)-len(rest)] + name + ":***" + rest[at:]
}

// String returns the place in the form that Parse reads, with no options: as scp has it, unless only a URL can say it.
func (c Config) String() string {
	host := c.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	// A user's name with a slash, a colon or a bracket would be read as something else.
	if c.Port != 0 || strings.ContainsAny(c.User, "/:[") {
		return c.url(host)
	}
	if c.User != "" {
		host = c.User + "@" + host
	}
	if strings.HasPrefix(c.Path, "~") {
		return "sftp:" + host + ":./" + c.Path // a directory of that name
	}
	return "sftp:" + host + ":" + c.Path
}

func (c Config) url(host string) string {
	if c.User != "" {
		host = url.User(c.User).String() + "@" + host
	}
	if c.Port != 0 {
		host += ":" + strconv.Itoa(c.Port)
	}
	p := strings.ReplaceAll(url.PathEscape(c.Path), "%2F", "/")
	switch {
	case !path.IsAbs(c.Path):
		p = "/~/" + p
	case strings.HasPrefix(c.Path, "/~/"):
		p = "/" + p // a directory of that name, and not the login directory
	}
	return "sftp://" + host + p
}
