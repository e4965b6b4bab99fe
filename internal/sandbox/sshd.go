package sandbox

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// SSHDConfig says how an SSH server differs from the plain one.
type SSHDConfig struct {
	SFTPArgs []string // arguments of sftp-server, such as "-u", "0222"
	Config   []string // further lines of sshd_config; they win over the sandbox's own, and may hold no Match

	// Commands are run before the server starts, as root, in a directory with the client's key in mastodon.pub. They find
	// an /etc that they may change and an empty /srv, as only the server does else. Match stands at the end of sshd_config.
	Commands string
	Match    string
}

// SSHD is a running OpenSSH server. It lets in the user who runs this process,
// by key.
type SSHD struct {
	Host         string // 127.0.0.1
	Port         int
	User         string
	IdentityFile string // the client's private key, 0600
	KnownHosts   string // file that names the server's key
	PID          int
	Root         string // an empty, writable directory on the server

	dir  string // dir/sshd
	proc *process
	stop func() error // ends a server within this process
}

// StartSSHD runs an OpenSSH server with its files in dir/sshd.
func StartSSHD(ctx context.Context, dir string, c SSHDConfig) (*SSHD, error) {
	return startServer(ctx, dir, "sshd", "openssh-server", func(s *SSHD, server string) (*exec.Cmd, error) {
		config := filepath.Join(s.dir, "sshd_config")
		if err := os.WriteFile(config, []byte(s.config(c)+c.Match), 0o600); err != nil || c.Commands == "" {
			return exec.Command(server, "-D", "-f", config, "-E", s.log()), err
		}
		return s.withHost(c.Commands, server, "-D", "-f", config, "-E", s.log())
	})
}

// startServer runs a server of SFTP, of which command writes the configuration and returns the command line.
func startServer(ctx context.Context, dir, program, pkg string, command func(s *SSHD, server string) (*exec.Cmd, error)) (*SSHD, error) {
	server, err := find(program, pkg)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", program, err)
	}
	s, err := newSSHD(dir)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", program, err)
	}
	err = onFreePort(func(port int) error { return s.start(ctx, port, server, command) })
	if err != nil {
		s.Stop()
		return nil, fmt.Errorf("starting %s: %w", program, err)
	}
	return s, nil
}

// Srv is what the server has as /srv, where it was started with Commands.
func (s *SSHD) Srv() string { return filepath.Join(s.dir, "srv") }

// withHost returns a command that runs on a host of its own, as far as /etc and /srv go, after others were run there.
func (s *SSHD) withHost(commands string, command ...string) (*exec.Cmd, error) {
	const script = `set -e
cd "$1"
mount -t tmpfs none etc
mkdir etc/upper etc/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=etc/upper,workdir=etc/work /etc
mount --bind srv /srv
(cd client && eval "$2")
shift 2
exec "$@"`
	for _, dir := range []string{"etc", "srv", "client"} {
		if err := os.MkdirAll(filepath.Join(s.dir, dir), 0o755); err != nil {
			return nil, err
		}
	}
	key, err := os.ReadFile(filepath.Join(s.dir, "authorized_keys"))
	if err != nil {
		return nil, err
	}
	args := append([]string{"-m", "sh", "-c", script, "sh", s.dir, "set -e\n" + commands}, command...)
	return exec.Command("unshare", args...), os.WriteFile(filepath.Join(s.dir, "client", "mastodon.pub"), key, 0o644)
}

func (s *SSHD) log() string { return filepath.Join(s.dir, "log") }

// newSSHD makes the directories and keys.
func newSSHD(dir string) (*SSHD, error) {
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "sshd")
	s := &SSHD{
		Host: "127.0.0.1", User: me.Username,
		IdentityFile: filepath.Join(dir, "id_ed25519"),
		KnownHosts:   filepath.Join(dir, "known_hosts"),
		Root:         filepath.Join(dir, "root"),
		dir:          dir,
	}
	if err := os.MkdirAll(s.Root, 0o755); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		// Where sshd confines what faces the network. The package's service
		// makes it at boot, so without that service it may be missing.
		if err := os.Mkdir("/run/sshd", 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	client, err := makeKey(s.IdentityFile)
	if err != nil {
		return nil, err
	}
	return s, os.WriteFile(filepath.Join(dir, "authorized_keys"), ssh.MarshalAuthorizedKey(client), 0o600)
}

// makeKey writes a new private key and returns its public half.
func makeKey(path string) (ssh.PublicKey, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "sandbox")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, err
	}
	return ssh.NewPublicKey(public)
}

func (s *SSHD) start(ctx context.Context, port int, server string, command func(*SSHD, string) (*exec.Cmd, error)) error {
	s.Port = port
	address := net.JoinHostPort(s.Host, strconv.Itoa(port))
	host, err := makeKey(filepath.Join(s.dir, "host_key"))
	if err != nil {
		return err
	}
	line := knownhosts.Line([]string{address}, host) + "\n"
	if err := os.WriteFile(s.KnownHosts, []byte(line), 0o644); err != nil {
		return err
	}
	cmd, err := command(s, server)
	if err != nil {
		return err
	}
	if s.proc, err = startProcess(cmd, s.log(), syscall.SIGTERM); err != nil {
		return err
	}
	s.PID = s.proc.cmd.Process.Pid
	return s.proc.await(ctx, func() bool { return greets(address) })
}

// config returns sshd_config. Of each keyword sshd heeds the first line.
func (s *SSHD) config(c SSHDConfig) string {
	lines := append([]string{}, c.Config...)
	lines = append(lines,
		"ListenAddress "+net.JoinHostPort(s.Host, strconv.Itoa(s.Port)),
		"HostKey "+strconv.Quote(filepath.Join(s.dir, "host_key")),
		"AuthorizedKeysFile "+strconv.Quote(filepath.Join(s.dir, "authorized_keys")),
		"PidFile none",
		"StrictModes no",
		"PasswordAuthentication no",
		"KbdInteractiveAuthentication no",
		"PermitRootLogin prohibit-password",
		"UsePAM "+usePAM(),
		"UseDNS no",
		"MaxSessions 1000",
		"MaxStartups 1000",
		"Subsystem sftp internal-sftp "+strings.Join(c.SFTPArgs, " "),
	)
	return strings.Join(lines, "\n") + "\n"
}

// usePAM says "yes" where root's account is locked, as on images of virtual
// machines: without PAM sshd lets nobody into a locked account, even by key.
func usePAM() string {
	shadow, err := os.ReadFile("/etc/shadow")
	if err == nil && (bytes.HasPrefix(shadow, []byte("root:!")) || bytes.Contains(shadow, []byte("\nroot:!"))) {
		return "yes"
	}
	return "no"
}

// greets tells whether an SSH server answers.
func greets(address string) bool {
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	var banner [8]byte
	n, _ := conn.Read(banner[:])
	return string(banner[:n]) == "SSH-2.0-"
}

// Stop ends the server and every connection, each of which has a session of
// its own. What clients stored stays in Root.
func (s *SSHD) Stop() error {
	switch {
	case s.stop != nil:
		return s.stop()
	case s.proc == nil:
		return nil
	}
	return s.proc.killTree()
}
