package deploy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// A Found is how an instance runs. It keeps the processes of containers open, as long as this process runs.
type Found struct {
	live    string
	project *Project // nil where no Compose project has the live directory
	failure error    // what kept an engine from answering, where that is so
}

// Find finds out how the instance of a live directory runs. An engine that does not answer, and none at all, are errors only where the options name it
// or a project.
func Find(ctx context.Context, live string, o Options) (*Found, error) {
	live, err := filepath.Abs(live)
	if err != nil {
		return nil, err
	}
	p, why, err := find(ctx, live, o)
	if err != nil {
		return nil, err
	}
	chosen := o.Engine != "" && o.Engine != "none" || o.Project != ""
	switch {
	case p == nil && chosen && why != nil:
		return nil, source.Because(CauseEngineFails, fmt.Errorf("asking the container engine: %w", why))
	case p == nil && o.Project != "":
		return nil, source.Because(CauseNoProject, fmt.Errorf("no container belongs to a Compose project %q", o.Project))
	}
	return &Found{live: live, project: p, failure: why}, nil
}

// Environment returns what Mastodon's container has as its environment: Compose reads an env_file otherwise than Mastodon does.
// It is nil where there is no such container.
func (f *Found) Environment() map[string]string {
	if f.project == nil || f.project.served == nil {
		return nil
	}
	return f.project.served.env()
}

// Attach fills in how the instance runs, and how its parts are reached where they are in containers.
func (f *Found) Attach(ctx context.Context, inst *source.Instance) error {
	p := f.project
	if p == nil || p.served == nil {
		units, err := activeUnits(ctx, f.live)
		if err != nil {
			return err
		}
		inst.Deployment = source.Deployment{Kind: source.Unknown}
		if len(units) > 0 {
			inst.Deployment = source.Deployment{Kind: source.Systemd, Units: units}
		}
	}
	if p != nil && inst.Deployment.Kind != source.Systemd {
		inst.Deployment = p.deployment()
	}
	f.attachDatabase(&inst.Database)
	if inst.Replica != nil {
		f.attachDatabase(inst.Replica)
	}
	f.attachRedis(&inst.Redis)
	if inst.Sidekiq != nil {
		f.attachRedis(inst.Sidekiq)
	}
	if p != nil && p.served != nil && inst.Media.External == nil && !inst.Media.Elsewhere {
		p.attachMedia(inst)
	}
	return nil
}

func (f *Found) attachDatabase(d *source.Database) {
	if d.Socket() || d.Params["hostaddr"] != "" {
		return
	}
	d.NoAddress = f.absence(d.Host)
	if f.project == nil {
		return
	}
	c, err := f.project.reach(d.Host)
	switch {
	case err != nil:
		d.Container = &unreachable{d.Host, err}
	case c != nil:
		d.Container = c
	}
}

func (f *Found) attachRedis(r *source.Redis) {
	if r.Network == "unix" {
		return
	}
	addrs := r.Sentinels
	if len(addrs) == 0 {
		addrs = []string{r.Addr}
	}
	host, _, err := net.SplitHostPort(addrs[0])
	if err != nil {
		return
	}
	r.NoAddress = f.absence(host)
	if f.project == nil {
		return
	}
	if c, err := f.project.reach(host); c != nil || err != nil {
		r.Dial = f.project.dial
	}
}

// dial connects to an address as Mastodon's container knows it.
func (p *Project) dial(ctx context.Context, u *hostfs.User, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	c, err := p.reach(host)
	switch {
	case err != nil:
		return nil, err
	case c != nil:
		return c.Dial(ctx, u, port)
	}
	return u.Dial(ctx, network, addr)
}

// reach returns how to reach the running container that a name or an address in the settings leads to; nil where it is none.
func (p *Project) reach(host string) (*reached, error) {
	c, err := p.resolve(host)
	if c == nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.IndexFunc(p.reached, func(r *reached) bool { return r.c == c }); i >= 0 {
		return p.reached[i], nil
	}
	addr := c.address(p.networks())
	if !addr.IsValid() {
		addr = c.address(nil)
	}
	r := &reached{c: c, engine: p.engine, addr: addr}
	p.reached = append(p.reached, r)
	return r, nil
}

// composeFiles are what Compose looks for in a project's directory.
var composeFiles = []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}

// absence says why a name of the settings may have no address: nil where nothing hints at Compose.
func (f *Found) absence(host string) *source.Reason {
	if strings.ContainsAny(host, ".:") || host == "localhost" || host == "" {
		return nil
	}
	if f.project != nil {
		facts := []string{host, f.project.Name}
		for _, c := range f.project.containers {
			facts = append(facts, c.service())
		}
		return &source.Reason{Cause: CauseNoService, Facts: facts}
	}
	r := &source.Reason{Cause: CauseServiceDown, Facts: []string{host, f.live, composeFile(f.live)}}
	switch {
	case f.failure != nil:
		r.Cause, r.Facts = CauseServiceUntold, append(r.Facts, f.failure.Error())
	case !anyEngine():
		r.Cause = CauseServiceNoEngine
	}
	return r
}

// anyEngine reports whether an engine's command is in PATH.
func anyEngine() bool {
	return slices.ContainsFunc(engineNames, func(name string) bool {
		path, err := lookUp(name)
		return path != "" || err != nil
	})
}

// composeFile returns the name of the Compose file in a directory, "" where there is none.
func composeFile(dir string) string {
	p, err := hostfs.Resolve(dir)
	if err != nil {
		return ""
	}
	defer p.Close()
	const many = 100_000 // names
	names, err := p.Names(many)
	if err != nil {
		return ""
	}
	for _, name := range composeFiles {
		if slices.Contains(names, name) {
			return name
		}
	}
	return ""
}

// An unreachable is a source.Container that can't be told.
type unreachable struct {
	name string
	err  error
}

func (u *unreachable) String() string { return u.name }
func (u *unreachable) Addr() string   { return "" }

func (u *unreachable) Dial(context.Context, *hostfs.User, string) (net.Conn, error) {
	var reach *source.ReachError
	if errors.As(u.err, &reach) {
		return nil, u.err
	}
	return nil, &source.ReachError{Err: u.err}
}

func (u *unreachable) Enter(start func() error) error { return u.err }

// Command returns one that fails.
func (u *unreachable) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	return &exec.Cmd{Err: u.err}
}
