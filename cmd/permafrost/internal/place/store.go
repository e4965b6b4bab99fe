// Package place reads where a repository is: on an SFTP server, or in a directory of this machine. It opens the store there.
package place

import (
	"context"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"permafrost/cmd/permafrost/internal/config"
	"permafrost/cmd/permafrost/internal/usage"
	"permafrost/internal/dirstore"
	"permafrost/internal/escape"
	"permafrost/internal/hint"
	"permafrost/internal/sftpstore"
	"permafrost/repo/store"
)

// A Place is a repository's address, taken apart as far as it says which store it needs.
type Place struct {
	sftp *sftpstore.Config // nil: a local directory
	dir  string
}

// Parse reads a repository's address: a local path begins with /, ./ or ../, and USER@HOST:PATH is on an SFTP server as
// it is for scp. Whatever could be either is refused: a backup on the very disk that it is to save would look like one.
func Parse(address string) (Place, error) {
	scheme, rest, colon := strings.Cut(address, ":")
	host := colon && !strings.ContainsAny(scheme, "/")
	switch {
	case address == "":
		return Place{}, hint.Wrap(usage.Errorf("no repository is named"),
			"say -r URL, set PERMAFROST_REPOSITORY, or write repository = \"…\" into "+config.DefaultFile)
	case isLocal(address):
		return Place{dir: address}, nil
	case host && strings.HasPrefix(rest, "//") && scheme != "sftp" && scheme != "file":
		return Place{}, hint.Wrap(usage.Errorf("repositories on %s:// are not supported", escape.Name(scheme)),
			"give sftp://user@host/path or a local path")
	case hasPassword(address):
		return Place{}, hint.Wrap(usage.Errorf("a password has no place in a repository's address"), "log in with a key; begin a local path with ./ if it has an @")
	case scheme == "sftp" && colon, host && strings.Contains(scheme, "@"):
		c, err := sftpstore.Parse("sftp:" + strings.TrimPrefix(address, "sftp:"))
		if err != nil {
			return Place{}, usage.Wrap(err)
		}
		return Place{sftp: &c}, nil
	case scheme == "file" && colon:
		u, err := url.Parse(address)
		if err != nil || u.Host != "" && u.Host != "localhost" || !strings.HasPrefix(u.Path, "/") {
			return Place{}, usage.Errorf("%s names no directory: write file:///path", escape.Name(address))
		}
		return Place{dir: u.Path}, nil
	}
	return Place{}, hint.Wrap(usage.Errorf("%s is no repository's address", escape.Name(address)), "write "+escape.Name(likelier(address, host)))
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

// InFull returns where the repository is, for whoever looks for it from elsewhere.
func (p Place) InFull() string {
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

// Options say how a store is reached.
type Options struct {
	Upload, Download int64 // bytes a second; 0: no limit

	// For an SFTP server.
	AcceptHostKey bool   // trust its host key, if none is known yet
	SSHConfig     string // in place of the user's and the system's ssh_config
	SSHCommand    string // "": in-process unless the user's configuration asks for more

	// Patience bounds how long a connection may be silent or take to be made. What fails is tried again for four times that. 0 is
	// what sftpstore takes for long enough.
	Patience time.Duration

	Warn    func(text string) // hears what deserves attention
	Waiting func(text string) // hears that something is tried again
	Lasting func(text string) // hears what will be so with this storage each time; may be nil
}

// Open opens the store. Its close ends the connections.
func (p Place) Open(ctx context.Context, o Options) (st store.Store, close func() error, err error) {
	if p.sftp == nil {
		dir, err := dirstore.Open(p.dir)
		if err != nil {
			return nil, nil, err
		}
		return store.Limit(dir, o.Upload, o.Download), func() error { return nil }, nil
	}
	c := *p.sftp
	c.AcceptNewHostKey, c.ConfigFile = o.AcceptHostKey, o.SSHConfig
	c.RetryBudget, c.DialTimeout, c.Timeout = 4*o.Patience, o.Patience, o.Patience
	if o.SSHCommand != "" {
		c.UseCommand, c.Command = true, o.SSHCommand
	}
	c.Warn, c.Waiting, c.Lasting = o.Warn, o.Waiting, o.Lasting
	remote, err := sftpstore.Open(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	return store.Limit(remote, o.Upload, o.Download), remote.Close, nil
}
