package deploy

import (
	"cmp"
	"embed"
	"regexp"
	"slices"

	"permafrost/source"
	"permafrost/source/way"
)

//go:embed steps/*.sh
var stepFiles embed.FS

// Saved is what a snapshot tells of an instance's services.
type Saved struct {
	Deployment source.Deployment
	Live       string // Mastodon's directory
	User       string // whom it runs as: a name, or in a container a number
	Version    string // of Mastodon, "" where it is not known
	Migration  string // the database's newest, "" where it is not known
	Refetch    bool   // copies of other servers' files were left out
}

// unknownVersion stands for Mastodon's version in messages.
const unknownVersion = "(of the snapshot's time)"

var (
	ownUnit    = regexp.MustCompile(`^mastodon[-A-Za-z0-9_.:@]*\.(service|target)$`)
	digitsOnly = regexp.MustCompile(`^[0-9]{1,20}$`)
)

// Ways are the parts of the way back that are about Mastodon's services.
type Ways struct {
	Ready way.Part // Mastodon is there
	Stop  way.Part // it stands still
	Start way.Part // it runs, once everything is back
}

// WayBack returns the parts about Mastodon's services.
func WayBack(s Saved) Ways {
	steps := way.Read(stepFiles, "steps")
	code, err := stepFiles.ReadFile("steps/functions.sh")
	if err != nil {
		panic(err) // it is part of the program
	}
	if !s.Refetch {
		steps = slices.DeleteFunc(steps, func(s way.Step) bool { return s.Name == "refetch" })
	}
	return Ways{way.Part{Name: "Mastodon", Code: string(code), Steps: steps[:1], Vars: s.vars()}, way.Part{Name: "Services", Steps: steps[1:2]},
		way.Part{Name: "Services", Steps: steps[2:]}}
}

func (s *Saved) vars() []way.Var {
	migration := s.Migration
	if !digitsOnly.MatchString(migration) {
		migration = ""
	}
	kind, mastodons, idle, others := s.services()
	return []way.Var{
		{Name: "services", About: "what runs Mastodon: systemd, compose, or none of them", Values: []string{kind}},
		{Name: "mastodon_services", About: "its units or, with Compose, its services; not those of PostgreSQL and Redis", Values: mastodons, Array: true},
		{Name: "mastodon_idle", About: "with Compose: services of Mastodon that stood still when the snapshot was made; they are not started", Values: idle, Array: true},
		{Name: "data_services", About: "with Compose: the services of PostgreSQL and Redis", Values: others, Array: true},
		{Name: "engine", About: "with Compose: the engine's command", Values: []string{s.engine()}},
		{Name: "project", About: "with Compose: the project's name (docker compose ls --all)", Values: []string{s.Deployment.Project}},
		{Name: "live", About: "Mastodon's directory", Values: []string{s.Live}},
		{Name: "mastodon_user", About: "the user that Mastodon runs as", Values: []string{s.User}},
		{Name: "mastodon_version", About: "the version of Mastodon that the snapshot is of", Values: []string{cmp.Or(s.Version, unknownVersion)}},
		{Name: "migration", About: "the newest migration of its database; empty to compare none", Values: []string{migration}},
	}
}

func (s *Saved) engine() string {
	if s.Deployment.Engine == "podman" {
		return "podman"
	}
	return "docker"
}

// services returns what runs Mastodon, and the names of its services. With Compose these are the ones to start again, the ones that
// stood still, and those of its data. A unit of another name is not believed: who wrote the snapshot could have root start anything.
func (s *Saved) services() (kind string, mastodons, idle, others []string) {
	if s.Deployment.Kind == source.Compose {
		for _, service := range s.Deployment.Services {
			switch {
			case service.Mastodon && service.Running:
				mastodons = append(mastodons, service.Name)
			case service.Mastodon:
				idle = append(idle, service.Name)
			case service.Running:
				others = append(others, service.Name)
			}
		}
		if mastodons == nil { // it stood still for the snapshot
			mastodons, idle = idle, nil
		}
		return "compose", mastodons, idle, others
	}
	for _, unit := range s.Deployment.Units {
		if ownUnit.MatchString(unit) && !slices.Contains(mastodons, unit) {
			mastodons = append(mastodons, unit)
		}
	}
	if mastodons == nil {
		mastodons = []string{"mastodon-web.service", "mastodon-sidekiq.service", "mastodon-streaming.service"}
	}
	return "systemd", mastodons, nil, nil
}
