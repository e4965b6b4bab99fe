package place

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"permafrost/cmd/permafrost/internal/usage"
	"permafrost/internal/hint"
	"permafrost/internal/sftpstore"
	"permafrost/internal/sshconn"
)

func TestParsePlace(t *testing.T) {
	for address, want := range map[string]Place{
		"/srv/repo":                   {dir: "/srv/repo"},
		"./repo":                      {dir: "./repo"},
		"../repo":                     {dir: "../repo"},
		".":                           {dir: "."},
		"./user@host:x":               {dir: "./user@host:x"},
		"u@h:/p":                      {sftp: &sftpstore.Config{Config: sshconn.Config{Host: "h", User: "u"}, Path: "/p"}},
		"u@h:p":                       {sftp: &sftpstore.Config{Config: sshconn.Config{Host: "h", User: "u"}, Path: "p"}},
		"u@h:~/p":                     {sftp: &sftpstore.Config{Config: sshconn.Config{Host: "h", User: "u"}, Path: "p"}},
		"u@[::1]:p":                   {sftp: &sftpstore.Config{Config: sshconn.Config{Host: "::1", User: "u"}, Path: "p"}},
		"sftp:h:/a@b:c":               {sftp: &sftpstore.Config{Config: sshconn.Config{Host: "h"}, Path: "/a@b:c"}},
		"u@h:/a@b:c":                  {sftp: &sftpstore.Config{Config: sshconn.Config{Host: "h", User: "u"}, Path: "/a@b:c"}},
		"./a:b":                       {dir: "./a:b"},
		"/a:b":                        {dir: "/a:b"},
		"file:///srv/repo":            {dir: "/srv/repo"},
		"file:/srv/my%20repo":         {dir: "/srv/my repo"},
		"sftp:u@h:/p":                 {sftp: &sftpstore.Config{Config: sshconn.Config{Host: "h", User: "u"}, Path: "/p"}},
		"sftp://u@h:2222/p":           {sftp: &sftpstore.Config{Config: sshconn.Config{Host: "h", User: "u", Port: 2222}, Path: "/p"}},
		"sftp:h:relative/with:colons": {sftp: &sftpstore.Config{Config: sshconn.Config{Host: "h"}, Path: "relative/with:colons"}},
	} {
		if got, err := Parse(address); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", address, got, err, want)
		}
	}
	for address, want := range map[string]string{
		"":                           "no repository",
		"s3://bucket/x":              "s3:// are not supported",
		"host:/path":                 "is no repository's address",
		"repo":                       "is no repository's address",
		"a/b:c":                      "is no repository's address",
		"~/repo":                     "is no repository's address",
		`C:\backup\x`:                "is no repository's address",
		`\\server\share`:             "is no repository's address",
		`backup\x`:                   "is no repository's address",
		"u@h:":                       "is no SFTP repository",
		"u@:/p":                      "is no SFTP repository",
		"u:hunter2@h:/p":             "a password has no place",
		"sftp:u:hunter2@h:/p":        "a password has no place",
		"sftp:u:hun/ter2@h:/p":       "a password has no place",
		"sftp:h:~other/x":            "login directory",
		"file://elsewhere/x":         "names no directory",
		"file:relative":              "names no directory",
		"sftp:/path":                 "is no SFTP repository",
		"sftp://u:hunter2@h/p":       "a password has no place",
		"https://u:hunter2@h/\x1b]0": "https:// are not supported",
	} {
		_, err := Parse(address)
		if strings.Contains(address, `\`) && !strings.Contains(hint.Of(err), "a path with / between its names") {
			t.Errorf("%s: the hint is %q", address, hint.Of(err))
		}
		if !errors.As(err, new(*usage.Error)) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "ter2") {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
}
