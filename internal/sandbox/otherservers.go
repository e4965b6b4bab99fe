package sandbox

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
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

// StartDropbear runs dropbear, whose SFTP server is OpenSSH's, with its files in dir/sshd. It looks for the keys of those who
// may enter in their home: this takes root, and a home with a directory .ssh, which others don't see changed.
func StartDropbear(ctx context.Context, dir string) (*SSHD, error) {
	return startServer(ctx, dir, "dropbear", "dropbear-bin", func(s *SSHD, server string) (*exec.Cmd, error) {
		key := filepath.Join(s.dir, "dropbear_key")
		if err := os.Remove(key); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		convert := exec.Command("dropbearconvert", "openssh", "dropbear", filepath.Join(s.dir, "host_key"), key)
		if out, err := convert.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("converting the host key: %w: %s", err, out)
		}
		me, err := user.Current()
		if err != nil {
			return nil, err
		}
		return apart(filepath.Join(s.dir, "home"), filepath.Join(me.HomeDir, ".ssh"), map[string]string{"authorized_keys": filepath.Join(s.dir, "authorized_keys")},
			server, "-F", "-E", "-s", "-p", fmt.Sprintf("%s:%d", s.Host, s.Port), "-r", key, "-P", filepath.Join(s.dir, "pid"))
	})
}

// StartMySecureShell runs MySecureShell behind OpenSSH's server, with its files in dir/sshd. It takes root: its configuration
// stands in /etc/ssh, where others don't see it changed. Clients see Root as /.
func StartMySecureShell(ctx context.Context, dir string) (*SSHD, error) {
	shell, err := find("mysecureshell", "mysecureshell")
	if err != nil {
		return nil, fmt.Errorf("starting mysecureshell: %w", err)
	}
	return startServer(ctx, dir, "sshd", "openssh-server", func(s *SSHD, server string) (*exec.Cmd, error) {
		config := filepath.Join(s.dir, "sshd_config")
		own := filepath.Join(s.dir, "sftp_config")
		text := "<Default>\n\tHome " + s.Root + "\n\tStayAtHome true\n\tVirtualChroot true\n\tDefaultRights 0600 0700\n</Default>\n"
		lines := strings.Replace(s.config(SSHDConfig{}), "Subsystem sftp internal-sftp", "Subsystem sftp "+shell+" -c sftp-server", 1)
		if err := errors.Join(os.WriteFile(config, []byte(lines), 0o600), os.WriteFile(own, []byte(text), 0o644)); err != nil {
			return nil, err
		}
		return apart(own, "/etc/ssh/sftp_config", nil, server, "-D", "-f", config, "-E", s.log())
	})
}

// apart returns a command that finds its own file or directory in place of another one, as no other process does. Into a
// directory the files are copied.
func apart(own, place string, files map[string]string, command ...string) (*exec.Cmd, error) {
	if files != nil {
		if err := os.MkdirAll(own, 0o700); err != nil {
			return nil, err
		}
	}
	for name, file := range files {
		data, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(own, name), data, 0o600)
		}
		if err != nil {
			return nil, err
		}
	}
	script := `mount --bind "$1" "$2" && shift 2 && exec "$@"`
	return exec.Command("unshare", append([]string{"-m", "sh", "-c", script, "sh", own, place}, command...)...), nil
}

//go:embed asyncssh.py
var asyncSSH string

// StartAsyncSSH runs the server of Python's asyncssh with its files in dir/sshd.
func StartAsyncSSH(ctx context.Context, dir string) (*SSHD, error) {
	return startServer(ctx, dir, "/usr/bin/python3", "python3-asyncssh", func(s *SSHD, python string) (*exec.Cmd, error) {
		script := filepath.Join(s.dir, "server.py")
		if err := os.WriteFile(script, []byte(asyncSSH), 0o600); err != nil {
			return nil, err
		}
		return exec.Command(python, "-W", "ignore", script, s.Host, fmt.Sprint(s.Port), filepath.Join(s.dir, "host_key"), filepath.Join(s.dir, "authorized_keys")), nil
	})
}
