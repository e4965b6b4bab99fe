package sftpstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"permafrost/internal/hint"
)

// commandTransport has the ssh command connect: each SFTP channel is a process.
type commandTransport struct {
	config *Config
	asks   bool // a person may have to touch a key for each connection
}

func (t commandTransport) alive() bool  { return true }
func (t commandTransport) single() bool { return t.asks } // else each open is a connection of its own
func (t commandTransport) close()       {}

// checkCommand returns an error where others than root could have written the command that root would run, or a file that names
// more of them.
func checkCommand(c *Config) error {
	if c.UseCommand && c.ConfigFile != "" { // else it was read already, or ssh looks by itself
		if _, err := readSSHConfig(c.ConfigFile); err != nil {
			return err
		}
	}
	path, err := exec.LookPath(c.Command)
	if err != nil || os.Geteuid() != 0 {
		return nil // what is not there is said when it is started
	}
	p, err := resolve(path)
	if err != nil {
		return fmt.Errorf("looking at the ssh command: %w", err)
	}
	defer p.Close()
	if why := p.Foreign(0); why != "" {
		return hint.Wrap(fmt.Errorf("the ssh command %s is not run as root: %s", path, why),
			"keep it in a directory of root's, as a file of root's: chown root:root, chmod go-w")
	}
	return nil
}

// args returns the command's arguments. What a person must not be asked about, and what must not be forwarded, is
// settled here, whatever ssh_config says.
func (t commandTransport) args() []string {
	c := t.config
	seconds := max(1, int(c.Timeout/time.Second)/4)
	check := "yes"
	if c.AcceptNewHostKey {
		check = "accept-new"
	}
	args := []string{"-T", "-oBatchMode=yes", "-oStrictHostKeyChecking=" + check,
		"-oServerAliveInterval=" + strconv.Itoa(seconds), "-oServerAliveCountMax=4",
		"-oConnectTimeout=" + strconv.Itoa(max(1, int(c.DialTimeout/time.Second))),
		"-oClearAllForwardings=yes", "-oForwardAgent=no", "-oForwardX11=no", "-oPermitLocalCommand=no", "-oRemoteCommand=none",
		"-oControlMaster=no"}
	if c.ConfigFile != "" {
		args = append(args, "-F", c.ConfigFile)
	}
	for _, f := range c.IdentityFiles {
		args = append(args, "-i", f)
	}
	if len(c.KnownHostsFiles) > 0 {
		args = append(args, "-oUserKnownHostsFile="+quote(c.KnownHostsFiles), "-oGlobalKnownHostsFile=none")
	}
	if c.Port != 0 {
		args = append(args, "-p", strconv.Itoa(c.Port))
	}
	if c.User != "" {
		args = append(args, "-l", c.User)
	}
	return append(args, "-s", "--", c.Host, "sftp")
}

// quote writes a list of files as ssh_config wants it.
func quote(files []string) string {
	return `"` + strings.Join(files, `" "`) + `"`
}

func (t commandTransport) open(ctx context.Context) (io.ReadWriteCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(t.config.Command, t.args()...)}
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PERMAFROST_") })
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = time.Second                           // a grandchild may hold stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours to handle
	var err error
	if p.Writer, err = p.cmd.StdinPipe(); err == nil {
		p.Reader, err = p.cmd.StdoutPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		err = permanentError{hint.Wrap(err, commandHint(t.config.Command))}
	}
	if err != nil {
		return nil, fmt.Errorf("starting the ssh command: %w", err)
	}
	return p, nil
}

// commandHint says what to do where there is no such command.
func commandHint(command string) string {
	switch {
	case strings.ContainsAny(command, " \t"):
		return "--ssh-command takes a program without arguments: options belong in the file that --ssh-config names, or in a script"
	case filepath.Base(command) == "ssh" && !strings.Contains(command, "/"):
		return "install the package openssh-client"
	}
	return "--ssh-command names a program on PATH, or its whole path"
}

// A process is a running ssh command.
type process struct {
	io.Reader
	io.Writer
	cmd    *exec.Cmd
	stderr tail
	once   sync.Once
}

// Close ends the process.
func (p *process) Close() error {
	p.once.Do(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	return nil
}

// sshFailed is the status of an ssh that failed itself. Any other one is that of the server's process.
const sshFailed = 255

// explain makes of an error during the start one that tells what ssh said.
func (p *process) explain(err error) error {
	if permanent(err) {
		return err
	}
	p.awaitEnd()
	text := oneLine(p.stderr.String()) // a banner and ssh's own words
	if status := p.cmd.ProcessState.ExitCode(); status != sshFailed {
		return failed(err, text, status)
	}
	if text == "" {
		return err
	}
	err = fmt.Errorf("ssh: %s", text)
	for said, advice := range map[string]string{
		"Host key verification failed": "compare the host key with the server's own, then use --accept-new-host-key once; remove a changed key from known_hosts first",
		"Permission denied":            "use a key that needs no passphrase: give it to the agent (ssh-add), or name it as IdentityFile in ~/.ssh/config",
		"subsystem request failed":     "have SFTP enabled for this account",
		"Bad configuration option":     "mend ~/.ssh/config",
	} {
		if strings.Contains(text, said) {
			return permanentError{hint.Wrap(err, advice)}
		}
	}
	return err
}

// awaitEnd lets ssh say its last words.
func (p *process) awaitEnd() {
	timer := time.AfterFunc(lastWords, func() { p.cmd.Process.Kill() })
	defer timer.Stop()
	p.once.Do(func() { p.cmd.Wait() })
}

// tail keeps the last bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	const limit = 2000
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	t.buf = t.buf[max(0, len(t.buf)-limit):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
