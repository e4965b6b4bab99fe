package deploy

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// Options say which engine and project are meant.
type Options struct {
	Engine  string // the engine's command, or its path; "none" asks no engine; "" asks docker and podman where they are there
	Project string // the name of the Compose project; "" is the one whose working directory is the live directory
}

// A Project is the containers of a Compose project.
type Project struct {
	Name string

	engine     *engine
	containers []*container // without one-off ones
	others     []*container // that share a network with Mastodon's, and are not of the project
	served     *container   // Mastodon's own; nil where none is

	mu      sync.Mutex
	reached []*reached
}

// find asks each engine for the project of a live directory. It is nil where there is none; why says what kept an engine from
// answering.
func find(ctx context.Context, live string, o Options) (p *Project, why, err error) {
	all, why, err := engines(o.Engine)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range all {
		found, ferr := e.find(ctx, live, o.Project)
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if ferr != nil && why == nil {
			why = ferr
		}
		if found == nil {
			continue
		}
		if p != nil {
			return nil, nil, source.Because(CauseTwoEngines, fmt.Errorf("%s and %s both have a Compose project of %s", p.engine.name, e.name, live))
		}
		if p, err = found.complete(ctx); err != nil {
			return nil, nil, err
		}
	}
	return p, why, nil
}

// find returns the containers of the project.
func (e *engine) find(ctx context.Context, live, name string) (*Project, error) {
	if err := e.check(ctx); err != nil {
		return nil, err
	}
	filter := "label=" + labelProject
	if name != "" {
		filter += "=" + name
	}
	all, err := e.list(ctx, filter)
	if err != nil {
		return nil, err
	}
	p := &Project{Name: name, engine: e}
	for _, c := range all {
		if !c.oneOff() && (name == c.project() || name == "" && sameDir(c.Config.Labels[labelDir], live)) {
			p.containers = append(p.containers, c)
		}
	}
	if len(p.containers) == 0 {
		return nil, nil
	}
	return p, nil
}

// sameDir reports whether a label names the live directory: Compose notes the path that it was called with, which may go through
// symbolic links.
func sameDir(label, live string) bool {
	if !filepath.IsAbs(label) {
		return false
	}
	return filepath.Clean(label) == filepath.Clean(live) || canonical(label) == canonical(live)
}

// canonical returns a directory's path without symbolic links, or the path itself where it can't be followed.
func canonical(path string) string {
	dir, _, _, err := hostfs.Walk(path)
	if dir == nil {
		return path
	}
	defer dir.Close()
	if err != nil {
		return path
	}
	return dir.Name()
}

// complete looks at what was found: it must be one project. Containers that share a network with Mastodon's own are added.
func (p *Project) complete(ctx context.Context) (*Project, error) {
	names := make(map[string]bool)
	for _, c := range p.containers {
		names[c.project()] = true
	}
	if len(names) > 1 {
		return nil, source.Because(CauseSeveralProjects, fmt.Errorf("several Compose projects have this directory: %s", strings.Join(slices.Sorted(maps.Keys(names)), ", ")))
	}
	p.Name = p.containers[0].project()
	p.served = p.findServed()
	for network := range p.networks() {
		near, err := p.engine.list(ctx, "network="+network)
		if err != nil {
			return nil, err
		}
		for _, c := range near {
			known := func(k *container) bool { return k.ID == c.ID }
			if !slices.ContainsFunc(p.containers, known) && !slices.ContainsFunc(p.others, known) && !c.oneOff() {
				p.others = append(p.others, c)
			}
		}
	}
	return p, nil
}

// findServed returns the container of Mastodon's web service, else another one of Mastodon's.
func (p *Project) findServed() (best *container) {
	rank := func(c *container) int {
		n := slices.Index([]string{"sidekiq", "web"}, c.service())*2 + 2
		if c.State.Running {
			n++
		}
		return n
	}
	for _, c := range p.containers {
		if c.mastodon() && (best == nil || rank(c) > rank(best)) {
			best = c
		}
	}
	return best
}

// networks are those that Mastodon's container is in: the names of its settings are looked up there.
func (p *Project) networks() map[string]bool {
	networks := make(map[string]bool)
	if p.served != nil {
		for name := range p.served.Settings.Networks {
			networks[name] = true
		}
	}
	return networks
}

// resolve returns the running container that a name in the settings leads to; nil where it names none.
func (p *Project) resolve(name string) (*container, error) {
	for _, group := range [][]*container{p.containers, p.others} {
		var matching, running []*container
		for _, c := range group {
			if c.answersTo(name, p.networks()) {
				matching = append(matching, c)
				if c.State.Running {
					running = append(running, c)
				}
			}
		}
		switch {
		case len(running) == 1:
			return running[0], nil
		case len(running) > 1:
			return nil, &source.ReachError{Err: source.Because(CauseSeveralContainers,
				fmt.Errorf("%s is %d containers of the project %s: %s", name, len(running), p.Name, names(running)))}
		case len(matching) > 0:
			return nil, &source.ReachError{Err: source.Because(CauseStopped,
				fmt.Errorf("the container %s of the project %s is %s", names(matching), p.Name, matching[0].State.Status), p.engine.name, matching[0].Name)}
		}
	}
	return nil, nil
}

func names(containers []*container) string {
	var all []string
	for _, c := range containers {
		all = append(all, c.Name)
	}
	return strings.Join(all, ", ")
}

// deployment describes the project.
func (p *Project) deployment() source.Deployment {
	d := source.Deployment{Kind: source.Compose, Engine: p.engine.name, Project: p.Name}
	for _, c := range p.containers {
		d.Services = append(d.Services, source.Service{Name: c.service(), Container: c.Name, Image: c.image(), Running: c.State.Running, Mastodon: c.mastodon()})
	}
	return d
}
