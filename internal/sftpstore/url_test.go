package sftpstore

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	tests := []struct {
		url, user, host string
		port            int
		path            string
	}{
		{"sftp:backup@host:/srv/repo", "backup", "host", 0, "/srv/repo"},
		{"sftp:host:repo", "", "host", 0, "repo"},
		{"sftp:host:./a/../repo/", "", "host", 0, "repo"},
		{"sftp:host:.", "", "host", 0, "."},
		{"sftp:host:~", "", "host", 0, "."},
		{"sftp:host:~/", "", "host", 0, "."},
		{"sftp:host:~/a/~", "", "host", 0, "a/~"},
		{"sftp:host:./~/a", "", "host", 0, "~/a"},
		{"sftp:host:/a@b:c", "", "host", 0, "/a@b:c"},
		{"sftp:u@[2001:db8::1]:/r", "u", "2001:db8::1", 0, "/r"},
		{"sftp:[::1]:r:s@t", "", "::1", 0, "r:s@t"},
		{"sftp:me@example.org@host:/a@b:c", "me@example.org", "host", 0, "/a@b:c"},
		{"sftp:host:/a b?c#d%20", "", "host", 0, "/a b?c#d%20"},
		{"sftp:u123-sub4@u123.your-storagebox.de:permafrost", "u123-sub4", "u123.your-storagebox.de", 0, "permafrost"},
		{"sftp://host/srv/repo", "", "host", 0, "/srv/repo"},
		{"sftp://u@host:2222/srv/repo", "u", "host", 2222, "/srv/repo"},
		{"sftp://u@host:23//srv//repo/", "u", "host", 23, "/srv/repo"},
		{"sftp://u@[::1]:22/r", "u", "::1", 22, "/r"},
		{"sftp://host:22/~/repo", "", "host", 22, "repo"},
		{"sftp://me%40example.org@host:22/a%20b", "me@example.org", "host", 22, "/a b"},
		{"sftp://host/", "", "host", 0, "/"},
	}
	for _, test := range tests {
		c, err := Parse(test.url)
		if err != nil {
			t.Error(err)
			continue
		}
		if c.User != test.user || c.Host != test.host || c.Port != test.port || c.Path != test.path {
			t.Errorf("%s: %q %q %d %q", test.url, c.User, c.Host, c.Port, c.Path)
		}
		again, err := Parse(c.String())
		if err != nil || again.String() != c.String() || again.Path != c.Path {
			t.Errorf("%s: String gives %s, which reads as %+v, %v", test.url, c, again, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for url, want := range map[string]string{
		"":                         "neither",
		"/srv/repo":                "neither",
		"s3:bucket":                "neither",
		"sftp:":                    "host or path is missing",
		"sftp:host":                "host or path is missing",
		"sftp:host:":               "path is missing",
		"sftp:u@host:":             "path is missing",
		"sftp::/path":              "host or path is missing",
		"sftp:u@:/path":            "host is missing",
		"sftp:-oProxyCommand=x:/p": "host name",
		"sftp:u@-x:/p":             "host name",
		"sftp:-u@x:/p":             "user name",
		"sftp:a b:/p":              "host name",
		"sftp:h:/p\nq":             "path is not valid",
		"sftp:h:~other/p":          "login directory",
		"sftp://host":              "path is missing",
		"sftp:///path":             "host is missing",
		"sftp://host:0/p":          "port",
		"sftp://host:70000/p":      "port",
		"sftp://host:x/p":          "port",
		"sftp://host/~/":           "path is missing",
		"sftp://u:secret@host/p":   "password",
		"sftp://u:x@secret@host/p": "password",
		"sftp://host/p?q":          "query",
		"sftp://host/p#q":          "query",
	} {
		_, err := Parse(url)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", url, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error tells the password: %v", url, err)
		}
	}
}
