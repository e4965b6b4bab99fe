package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// StartRclone runs rclone's SFTP server with its files in dir/sshd. Clients see Root as /.
func StartRclone(ctx context.Context, dir string) (*SSHD, error) {
	return startServer(ctx, dir, "rclone", "rclone", func(s *SSHD, server string) (*exec.Cmd, error) {
		cmd := exec.Command(server, "serve", "sftp", s.Root, "--addr", fmt.Sprintf("%s:%d", s.Host, s.Port),
			"--key", filepath.Join(s.dir, "host_key"), "--authorized-keys", filepath.Join(s.dir, "authorized_keys"),
			"--config", filepath.Join(s.dir, "rclone.conf"), "--cache-dir", filepath.Join(s.dir, "cache"))
		return cmd, nil
	})
}

// StartProFTPD runs ProFTPD's mod_sftp with its files in dir/sshd, and further lines of its configuration.
func StartProFTPD(ctx context.Context, dir string, lines ...string) (*SSHD, error) {
	return startServer(ctx, dir, "proftpd", "proftpd-core proftpd-mod-crypto", func(s *SSHD, server string) (*exec.Cmd, error) {
		// It reads keys in RFC 4716's form alone.
		public, err := os.ReadFile(filepath.Join(s.dir, "authorized_keys"))
		if err != nil {
			return nil, err
		}
		authorized := bytes.Join([][]byte{[]byte("---- BEGIN SSH2 PUBLIC KEY ----"),
			bytes.Fields(public)[1], []byte("---- END SSH2 PUBLIC KEY ----\n")}, []byte("\n"))
		passwd := fmt.Sprintf("%s:!:%d:%d::%s:/bin/sh\n", s.User, os.Getuid(), os.Getgid(), s.Root)
		config := filepath.Join(s.dir, "proftpd.conf")
		for file, text := range map[string]string{"authorized": string(authorized), "passwd": passwd, "proftpd.conf": s.proftpd(lines)} {
			if err := os.WriteFile(filepath.Join(s.dir, file), []byte(text), 0o600); err != nil {
				return nil, err
			}
		}
		return exec.Command(server, "-n", "-c", config), nil
	})
}

func (s *SSHD) proftpd(lines []string) string {
	return strings.NewReplacer("DIR", s.dir, "HOST", s.Host, "PORT", fmt.Sprint(s.Port)).Replace(`
LoadModule mod_sftp.c
ServerType standalone
UseIPv6 off
DefaultAddress HOST
Port PORT
PidFile DIR/pid
ScoreboardFile DIR/scoreboard
DelayEngine off
WtmpLog off
TransferLog none
UseReverseDNS off
UseFtpUsers off
RootLogin on
RequireValidShell off
AuthOrder mod_auth_file.c
AuthUserFile DIR/passwd
AllowOverwrite on
SFTPEngine on
SFTPHostKey DIR/host_key
SFTPAuthMethods publickey
SFTPAuthorizedUserKeys file:DIR/authorized
`) + strings.Join(lines, "\n") + "\n"
}
