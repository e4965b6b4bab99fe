package sshconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A commandConn has the ssh command connect: each stream is a process.
type commandConn struct {
	config *Config
	asks   bool // a person may have to touch a key for each connection
}

// Alive implements Conn.
func (c commandConn) Alive() bool { return true }

// Single implements Conn. Each stream is a connection of its own: more of them help, unless a person has to allow each.
func (c commandConn) Single() bool { return c.asks }

// Close implements Conn.
func (c commandConn) Close() error { return nil }

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
		return becausef(CauseCommandUntrusted, "root does not run the ssh command %s: %s", path, why)
	}
	return nil
}

// arguments returns the command's arguments. What a person must not be asked about, and what must not be forwarded, is
// settled here, whatever ssh_config says.
func arguments(c *Config) []string {
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

// StartSFTP implements Conn.
func (c commandConn) StartSFTP(ctx context.Context) (Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(c.config.Command, arguments(c.config)...)}
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
		err = permanentError{because(absence(c.config.Command), err)}
	}
	if err != nil {
		return nil, fmt.Errorf("starting the ssh command: %w", err)
	}
	return p, nil
}

// absence returns the cause of an error where there is no such command.
func absence(command string) Cause {
	switch {
	case strings.ContainsAny(command, " \t"):
		return CauseCommandArguments
	case command == "ssh":
		return CauseNoSSH
	}
	return CauseNoCommand
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

// Explain implements Stream.
func (p *process) Explain(err error) error {
	p.awaitEnd()
	text := oneLine(p.stderr.String()) // a banner and ssh's own words
	if status := p.cmd.ProcessState.ExitCode(); status != sshFailed {
		return failed(err, text, status)
	}
	if text == "" {
		return err
	}
	err = fmt.Errorf("ssh: %s", text)
	for said, cause := range map[string]Cause{
		"Host key verification failed": CauseHostKeyRefused,
		"Permission denied":            CauseLoginRefused,
		"subsystem request failed":     CauseNoSFTP,
		"Bad configuration option":     CauseSSHConfig,
	} {
		if strings.Contains(text, said) {
			return permanentError{because(cause, err)}
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
