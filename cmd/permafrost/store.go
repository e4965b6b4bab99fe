package main

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"permafrost/internal/dirstore"
	"permafrost/internal/escape"
	"permafrost/internal/hint"
	"permafrost/internal/keeper"
	"permafrost/internal/sftpstore"
	"permafrost/repo/store"
)

// A place is a repository's address, taken apart as far as it says which store it needs.
type place struct {
	sftp *sftpstore.Config // nil: a local directory
	dir  string
}

// parsePlace reads a repository's address: a local path begins with /, ./ or ../, and USER@HOST:PATH is on an SFTP server as
// it is for scp. Whatever could be either is refused: a backup on the very disk that it is to save would look like one.
func parsePlace(address string) (place, error) {
	scheme, rest, colon := strings.Cut(address, ":")
	host := colon && !strings.ContainsAny(scheme, "/")
	switch {
	case address == "":
		return place{}, hint.Wrap(usagef("no repository is named"),
			"say -r URL, set PERMAFROST_REPOSITORY, or write repository = \"…\" into "+defaultConfig)
	case isLocal(address):
		return place{dir: address}, nil
	case host && strings.HasPrefix(rest, "//") && scheme != "sftp" && scheme != "file":
		return place{}, hint.Wrap(usagef("repositories on %s:// are not supported", escape.Name(scheme)),
			"give sftp://user@host/path or a local path")
	case hasPassword(address):
		return place{}, hint.Wrap(usagef("a password has no place in a repository's address"), "log in with a key; begin a local path with ./ if it has an @")
	case scheme == "sftp" && colon, host && strings.Contains(scheme, "@"):
		c, err := sftpstore.Parse("sftp:" + strings.TrimPrefix(address, "sftp:"))
		if err != nil {
			return place{}, &usageError{err}
		}
		return place{sftp: &c}, nil
	case scheme == "file" && colon:
		u, err := url.Parse(address)
		if err != nil || u.Host != "" && u.Host != "localhost" || !strings.HasPrefix(u.Path, "/") {
			return place{}, usagef("%s names no directory: write file:///path", escape.Name(address))
		}
		return place{dir: u.Path}, nil
	}
	return place{}, hint.Wrap(usagef("%s is no repository's address", escape.Name(address)), "write "+escape.Name(likelier(address, host)))
}

// isLocal reports whether an address is a path on this machine beyond doubt.
func isLocal(address string) bool {
	return address == "." || address == ".." ||
		strings.HasPrefix(address, "/") || strings.HasPrefix(address, "./") || strings.HasPrefix(address, "../")
}

// likelier returns what an address that could be read in two ways may have meant.
func likelier(address string, host bool) string {
	switch {
	case strings.Contains(address, `\`):
		return "a path with / between its names, such as /srv/mastodon on this host, or user@host:/path on a server"
	case host:
		return "sftp:" + address + " for a directory on that server, or ./" + address + " for one here"
	case strings.HasPrefix(address, "~"):
		return "the path in full, from / on"
	}
	return "./" + address + " for a directory here, or user@host:" + address + " for one on a server"
}

// hasPassword reports whether an address reads NAME:PASSWORD@HOST, with or without a scheme. It must not come as far as an
// error that quotes it. What begins as a path does, behind the first colon, is one, whatever it has in it.
func hasPassword(address string) bool {
	_, rest, isURL := strings.Cut(address, "://")
	if !isURL {
		rest = strings.TrimPrefix(address, "sftp:")
	}
	before, after, ok := strings.Cut(rest, "@")
	name, secret, more := strings.Cut(before, ":")
	if !ok || !more || strings.Contains(name, "/") || !isURL && (isLocal(secret) || strings.HasPrefix(secret, "~/")) {
		return false
	}
	// A path may have an @ in it; a slash in a password is told from one by the colon behind the host.
	return !strings.Contains(before, "/") || !isURL && strings.Contains(after, ":")
}

// inFull returns where the repository is, for whoever looks for it from elsewhere.
func (p place) inFull() string {
	if p.sftp != nil {
		if strings.HasPrefix(p.sftp.Path, "/") {
			return p.sftp.String()
		}
		return p.sftp.String() + ", below the login directory"
	}
	if full, err := filepath.Abs(p.dir); err == nil {
		return full + ", on this machine"
	}
	return p.dir
}

// storePatience bounds how long a connection may be silent or take to be made. What fails is tried again for four times
// that. 0 is what sftpstore takes for long enough; only tests set it.
var storePatience time.Duration

// openStore opens the store that the repository's address names. Its close ends the connections.
func (a *app) openStore(ctx context.Context) (st store.Store, close func() error, err error) {
	return a.openNewStore(ctx, nil)
}

// openNewStore is openStore for a repository that is to be made. lasting hears what will be so with this storage each time.
func (a *app) openNewStore(ctx context.Context, lasting func(text string)) (st store.Store, close func() error, err error) {
	p, err := parsePlace(a.repository)
	if err != nil {
		return nil, nil, err
	}
	if p.sftp == nil {
		dir, err := dirstore.Open(p.dir)
		if err != nil {
			return nil, nil, err
		}
		return store.Limit(dir, int64(a.limitUpload), int64(a.limitDownload)), func() error { return nil }, nil
	}
	c := *p.sftp
	c.AcceptNewHostKey, c.ConfigFile = a.acceptHostKey, a.sshConfig
	c.RetryBudget, c.DialTimeout, c.Timeout = 4*storePatience, storePatience, storePatience
	if a.sshCommand != "" {
		c.UseCommand, c.Command = true, a.sshCommand
	}
	c.Warn = func(text string) { a.ui.Finding(keeper.Finding{Severity: keeper.Notable, Err: errors.New(text)}) }
	c.Waiting = func(text string) { a.ui.Finding(keeper.Finding{Severity: keeper.Minor, Err: errors.New(text)}) }
	c.Lasting = lasting
	remote, err := sftpstore.Open(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	return store.Limit(remote, int64(a.limitUpload), int64(a.limitDownload)), remote.Close, nil
}
