package main

import (
	"reflect"
	"strings"
	"testing"

	"permafrost/internal/sftpstore"
)

func TestParsePlace(t *testing.T) {
	for address, want := range map[string]place{
		"/srv/repo":                   {dir: "/srv/repo"},
		"repo":                        {dir: "repo"},
		"./a:b":                       {dir: "./a:b"},
		"/a:b":                        {dir: "/a:b"},
		"file:///srv/repo":            {dir: "/srv/repo"},
		"file:/srv/my%20repo":         {dir: "/srv/my repo"},
		"sftp:u@h:/p":                 {sftp: &sftpstore.Config{Host: "h", User: "u", Path: "/p"}},
		"sftp://u@h:2222/p":           {sftp: &sftpstore.Config{Host: "h", User: "u", Port: 2222, Path: "/p"}},
		"sftp:h:relative/with:colons": {sftp: &sftpstore.Config{Host: "h", Path: "relative/with:colons"}},
	} {
		if got, err := parsePlace(address); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", address, got, err, want)
		}
	}
	for address, want := range map[string]string{
		"":                           "no repository",
		"s3://bucket/x":              "s3:// are not supported",
		"user@host:/path":            "is no repository's address",
		"file://elsewhere/x":         "names no directory",
		"file:relative":              "names no directory",
		"sftp:/path":                 "is no SFTP repository",
		"sftp://u:hunter2@h/p":       "a password has no place",
		"https://u:hunter2@h/\x1b]0": "https:// are not supported",
	} {
		_, err := parsePlace(address)
		if exitCode(err) != exitUsage || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
}
