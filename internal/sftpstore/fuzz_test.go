package sftpstore

import (
	"strings"
	"testing"
)

func FuzzParse(f *testing.F) {
	for _, s := range []string{"sftp:u@h:/p", "sftp://u@h:22/p", "sftp:[::1]:r", "sftp://h/~/p%20q", "sftp:u@h:~/p", "sftp://u@[::1]:22//~/p", "sftp://a%3Ab@h/p"} {
		if _, err := Parse(s); err != nil {
			f.Fatal(err)
		}
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := Parse(s)
		if err != nil {
			return
		}
		if strings.HasPrefix(c.Host, "-") || strings.HasPrefix(c.User, "-") || c.Path == "" || c.Port < 0 || c.Port > 65535 {
			t.Errorf("%q reads as %+v", s, c)
		}
		again, err := Parse(c.String())
		if err != nil || again.Host != c.Host || again.User != c.User || again.Port != c.Port || again.Path != c.Path {
			t.Errorf("%q reads as %+v, which is written %q and reads as %+v, %v", s, c, c.String(), again, err)
		}
	})
}
