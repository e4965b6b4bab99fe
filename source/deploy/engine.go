package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

const (
	// answerTime bounds one question to an engine.
	answerTime = 30 * time.Second

	// maxAnswer bounds its answer, in bytes. A container takes some eight thousand.
	maxAnswer = 16 << 20

	// maxSaid bounds what is kept of its standard error, in bytes.
	maxSaid = 2 << 10
)

// engineNames are the commands that are looked for.
var engineNames = []string{"docker", "podman"}

// An engine is the command of a container engine.
type engine struct {
	path string
	name string // docker or podman
}

// engines returns the commands to ask: the one that setting names, or each that is there. "none" names none. Why says what kept
// one that is there from being asked.
func engines(setting string) (found []*engine, why, err error) {
	switch {
	case setting == "none":
		return nil, nil, nil
	case strings.Contains(setting, "/"):
		path, err := filepath.Abs(setting)
		if err == nil {
			err = checkCommand(path)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("the container engine: %w", err)
		}
		return []*engine{newEngine(path)}, nil, nil
	case setting != "":
		path, err := lookUp(setting)
		if err == nil && path == "" {
			err = fmt.Errorf("%s is not in PATH", setting)
		}
		if err != nil {
			return nil, nil, source.Because(CauseNoEngine, fmt.Errorf("the container engine: %w", err))
		}
		return []*engine{newEngine(path)}, nil, nil
	}
	for _, name := range engineNames {
		path, err := lookUp(name)
		switch {
		case err != nil && why == nil:
			why = err
		case err == nil && path != "":
			found = append(found, newEngine(path))
		}
	}
	return found, why, nil
}

func newEngine(path string) *engine {
	e := &engine{path: path, name: engineNames[0]}
	if strings.Contains(filepath.Base(path), "podman") {
		e.name = "podman"
	}
	return e
}

// lookUp returns the path of a command in PATH, "" where it is not there.
func lookUp(name string) (string, error) {
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path := filepath.Join(dir, name)
		if !filepath.IsAbs(dir) {
			continue
		}
		if fi, err := os.Stat(path); err != nil || !fi.Mode().IsRegular() || fi.Mode()&0o111 == 0 {
			continue
		}
		return path, checkCommand(path)
	}
	return "", nil
}

// checkCommand makes sure that root runs no program that another user could have put there.
func checkCommand(path string) error {
	p, err := hostfs.Resolve(path)
	if err != nil {
		return err
	}
	defer p.Close()
	if !p.Info.Mode().IsRegular() {
		return fmt.Errorf("%s is no program", path)
	}
	if why := p.Foreign(0); why != "" && os.Geteuid() == 0 {
		return fmt.Errorf("%s is not run as root: %s", path, why)
	}
	return nil
}

// engineVariables are what may say in the environment which engine is meant.
var engineVariables = []string{"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH",
	"DOCKER_API_VERSION", "CONTAINER_HOST", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "XDG_RUNTIME_DIR"}

// command returns the engine's command with these arguments. It ends when ctx does.
func (e *engine) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, e.path, args...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=" + home()}
	for _, name := range engineVariables {
		if value, set := os.LookupEnv(name); set {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	cmd.Dir = "/"
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
	return cmd
}

// home is where the engine's command has its configuration. For root it is what the user database says: $HOME may be another
// user's.
func home() string {
	if os.Geteuid() == 0 {
		if u, err := hostfs.LookupUID(0, 0); err == nil && u.Home != "" {
			return u.Home
		}
		return "/root"
	}
	return os.Getenv("HOME")
}

// ask runs the engine's command and returns what it prints.
func (e *engine) ask(ctx context.Context, args ...string) ([]byte, error) {
	return ask(ctx, e.command, args...)
}

// ask runs a command, bounded in time and in what it says, and returns what it prints.
func ask(ctx context.Context, command func(context.Context, ...string) *exec.Cmd, args ...string) ([]byte, error) {
	actx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	cmd := command(actx, args...)
	out, said := &bounded{limit: maxAnswer, stop: cancel}, &bounded{limit: maxSaid}
	cmd.Stdout, cmd.Stderr = out, said
	err := cmd.Run()
	what := filepath.Base(cmd.Path) + " " + args[0]
	switch {
	case err == nil && !out.full:
		return out.kept.Bytes(), nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case out.full:
		return nil, fmt.Errorf("%s says more than %d bytes", what, maxAnswer)
	case actx.Err() != nil:
		return nil, fmt.Errorf("%s has not answered within %v", what, answerTime)
	case len(said.lastLine()) > 0:
		return out.kept.Bytes(), fmt.Errorf("%s: %s", what, said.lastLine())
	}
	return out.kept.Bytes(), fmt.Errorf("%s: %w", what, err)
}

// A bounded buffer keeps the first bytes that it is given. It is no bytes.Buffer: that one reads all that it can get.
type bounded struct {
	kept  bytes.Buffer
	limit int
	full  bool
	stop  func()
}

func (b *bounded) Write(p []byte) (int, error) {
	room := b.limit - b.kept.Len()
	b.kept.Write(p[:min(len(p), room)])
	if len(p) > room && !b.full {
		b.full = true
		if b.stop != nil {
			b.stop()
		}
	}
	return len(p), nil
}

// lastLine returns the last line that is not empty.
func (b *bounded) lastLine() string {
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(b.kept.String(), "\uFFFD")), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// errForeign says that root does not ask this engine.
var errForeign = errors.New("root obeys no engine that another user runs, or that is on another host: run permafrost as that user")

// check makes sure that the engine is one of this host, and for a process of root that it is root's own.
func (e *engine) check(ctx context.Context) error {
	// Both are asked at once, though only docker knows the second question: each costs the start of a process.
	var (
		out        []byte
		errContext error
		asked      sync.WaitGroup
	)
	asked.Go(func() { out, errContext = e.ask(ctx, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}") })
	version, err := e.ask(ctx, "--version")
	asked.Wait()
	if err != nil {
		return err
	}
	if e.name = "docker"; bytes.Contains(bytes.ToLower(version), []byte("podman")) {
		e.name = "podman"
	}
	if e.name == "podman" {
		remote, err := e.ask(ctx, "info", "--format", "{{.Host.ServiceIsRemote}}")
		if err == nil && strings.TrimSpace(string(remote)) != "false" {
			err = fmt.Errorf("podman asks a remote service: %w", errForeign)
		}
		return err
	}
	if errContext != nil {
		return errContext
	}
	socket, local := strings.CutPrefix(strings.TrimSpace(string(out)), "unix://")
	if !local || !filepath.IsAbs(socket) {
		return fmt.Errorf("docker is set to the engine at %.200q: %w", strings.TrimSpace(string(out)), errForeign)
	}
	if os.Geteuid() != 0 {
		return nil
	}
	p, err := hostfs.Resolve(socket)
	if err != nil {
		return fmt.Errorf("docker's socket: %w", err)
	}
	defer p.Close()
	if st := p.Info.Sys().(*syscall.Stat_t); st.Uid != 0 || !p.Trust.Root() {
		return fmt.Errorf("docker's socket %s is not root's: %w", socket, errForeign)
	}
	return nil
}
