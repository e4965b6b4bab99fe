package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

const (
	// maxContainers bounds how many containers an engine is asked about at once.
	maxContainers = 500

	// Labels of Compose.
	labelProject = "com.docker.compose.project"
	labelDir     = "com.docker.compose.project.working_dir"
	labelService = "com.docker.compose.service"
	labelOneOff  = "com.docker.compose.oneoff"
)

// A container is what an engine says of one: the part of `inspect` that is asked for.
type container struct {
	ID    string `json:"Id"`
	Name  string
	State struct {
		Status  string
		Running bool
		Pid     int
	}
	Config struct {
		Image      string
		Env        []string
		WorkingDir string
		Labels     map[string]string
	}
	ImageName string // podman's
	Mounts    []mount
	Settings  struct {
		Networks map[string]endpoint
	} `json:"NetworkSettings"`
}

// A mount is a directory of the host, or a volume, in a container.
type mount struct {
	Type        string
	Source      string
	Destination string
}

// An endpoint is a container's place in a network.
type endpoint struct {
	Aliases           []string
	DNSNames          []string
	IPAddress         string
	GlobalIPv6Address string
}

func (c *container) project() string { return c.Config.Labels[labelProject] }
func (c *container) service() string { return c.Config.Labels[labelService] }

// oneOff reports whether it was made by `run`, beside the services.
func (c *container) oneOff() bool { return strings.EqualFold(c.Config.Labels[labelOneOff], "true") }

// env returns the container's environment.
func (c *container) env() map[string]string {
	env := make(map[string]string)
	for _, v := range c.Config.Env {
		if name, value, ok := strings.Cut(v, "="); ok {
			env[name] = value
		}
	}
	return env
}

// mastodon reports whether the container runs Mastodon's own code: its environment has the instance's settings.
func (c *container) mastodon() bool { return c.env()["LOCAL_DOMAIN"] != "" }

func (c *container) image() string {
	if c.ImageName != "" {
		return c.ImageName
	}
	return c.Config.Image
}

// answersTo reports whether the name is one that the container has in one of the networks; all networks count where none is given.
func (c *container) answersTo(name string, networks map[string]bool) bool {
	if len(c.Settings.Networks) == 0 && len(networks) == 0 {
		return strings.EqualFold(name, c.Name) || strings.EqualFold(name, c.service())
	}
	for network, e := range c.Settings.Networks {
		if len(networks) > 0 && !networks[network] {
			continue
		}
		for _, alias := range slices.Concat(e.Aliases, e.DNSNames, []string{c.Name, c.service()}) {
			if strings.EqualFold(name, alias) {
				return true
			}
		}
	}
	return false
}

// address returns the container's address in one of the networks, the first by name.
func (c *container) address(networks map[string]bool) (best netip.Addr) {
	var names []string
	for network := range c.Settings.Networks {
		if len(networks) == 0 || networks[network] {
			names = append(names, network)
		}
	}
	slices.Sort(names)
	for _, network := range names {
		e := c.Settings.Networks[network]
		for _, text := range []string{e.IPAddress, e.GlobalIPv6Address} {
			if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
				return a
			}
		}
	}
	return best
}

// containerID is what engines name containers by. It becomes an argument of the engine's command, and part of a control group's name.
var containerID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// list asks for all containers, running or not, that a filter of `ps` picks.
func (e *engine) list(ctx context.Context, filter string) ([]*container, error) {
	const tries = 3 // a container may vanish between the two questions
	for i := 1; ; i++ {
		out, err := e.ask(ctx, "ps", "--all", "--quiet", "--no-trunc", "--filter", filter)
		if err != nil {
			return nil, err
		}
		ids := strings.Fields(string(out))
		if len(ids) > maxContainers {
			return nil, fmt.Errorf("%s knows more than %d containers", e.name, maxContainers)
		}
		for _, id := range ids {
			if !containerID.MatchString(id) {
				return nil, fmt.Errorf("%s names a container %.80q", e.name, id)
			}
		}
		if len(ids) == 0 {
			return nil, nil
		}
		if out, err = e.ask(ctx, append([]string{"container", "inspect"}, ids...)...); err == nil {
			return parseContainers(out)
		}
		if i == tries || ctx.Err() != nil {
			return nil, err
		}
	}
}

// parseContainers reads the answer of `inspect`.
func parseContainers(data []byte) ([]*container, error) {
	var found []*container
	if err := json.Unmarshal(data, &found); err != nil {
		return nil, fmt.Errorf("what the engine says of its containers: %w", err)
	}
	for _, c := range found {
		if c == nil || !containerID.MatchString(c.ID) {
			return nil, errors.New("what the engine says of its containers: one has no ID")
		}
		c.Name = strings.TrimPrefix(c.Name, "/")
	}
	slices.SortFunc(found, func(a, b *container) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}
