package redis

import (
	"cmp"
	"embed"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"permafrost/source"
	"permafrost/source/way"
)

// Saved is a Redis as a snapshot has it.
type Saved struct {
	Name       string // redis; or sidekiq, where Sidekiq's queues have a server of their own
	Facts      Facts
	Dump       DumpFacts
	File       string // the RDB's name in the directory of the restored files
	EnvFile    string // the restored settings, which have the password: a path, or a name in that directory
	Deployment source.Deployment
	Mode       string // all, without-jobs or skip; "" is all
}

//go:embed steps/*.sh
var stepFiles embed.FS

// WayBack returns how a Redis comes back: its dump is checked, given to the server, and freed of jobs where they are not wanted. All that
// decides how is asked of the server that is there. Names begin with that of the server, as there may be two.
func WayBack(s Saved) way.Part {
	code, err := stepFiles.ReadFile("steps/functions.sh")
	if err != nil {
		panic(err) // it is part of the program
	}
	p := way.Part{Name: "Redis", Vars: s.vars(), Code: string(code), Steps: way.Read(stepFiles, "steps")}
	if s.Name != "redis" {
		p.Name = "Redis of Sidekiq's queues"
	}
	for i := range p.Steps {
		step := &p.Steps[i]
		step.Name = s.Name + "-" + step.Name
		if s.Name != "redis" {
			step.Title += " (the server of Sidekiq's queues)"
		}
		names := strings.NewReplacer("redis_of redis", "redis_of "+s.Name, "redis-before", s.Name+"-before",
			"redis_mode", s.Name+"_mode", "`redis_file`", "`"+s.Name+"_file`", "`redis_replace`", "`"+s.Name+"_replace`")
		for _, text := range []*string{&step.Effect, &step.Why, &step.Check, &step.Run, &step.Verify, &step.Undo} {
			*text = names.Replace(*text)
		}
	}
	return p
}

// vars returns what of the server an administrator may have to change.
func (s *Saved) vars() []way.Var {
	f := &s.Facts
	host, port, socket := "", "", ""
	if f.Network == "unix" {
		socket = f.Addr
	} else if h, p, err := net.SplitHostPort(f.Addr); err == nil {
		host, port = h, p
	}
	container, engine := "", ""
	if s.Deployment.Kind == source.Compose {
		engine = s.Deployment.Engine
		if i := slices.IndexFunc(s.Deployment.Services, func(v source.Service) bool { return v.Name == host || v.Container == host }); i >= 0 {
			container = s.Deployment.Services[i].Container
		}
	}
	tls := ""
	if f.TLS {
		tls = "yes"
	}
	one := func(name, value, about string) way.Var {
		return way.Var{Name: s.Name + "_" + name, About: about, Values: []string{value}}
	}
	return []way.Var{
		one("mode", cmp.Or(s.Mode, "all"), "what comes back: all, without-jobs, or skip for nothing"),
		one("file", s.File, s.about()),
		one("settings", s.EnvFile, "Mastodon's settings, which have the password"),
		one("host", host, "the server's host"),
		one("port", port, "its port"),
		one("socket", socket, "its socket, where it is reached by one"),
		one("tls", tls, "yes, where it is reached by TLS"),
		one("db", strconv.Itoa(f.DB), "Mastodon's database"),
		one("user", "", "who may save and configure the server, where Mastodon's own user may not"),
		one("password_file", "", "the file with the password of that user in its first line"),
		one("service", "", "the server's unit of systemd; empty: it is found"),
		one("container", container, "its container, where it runs in one"),
		one("engine", cmp.Or(engine, "docker"), "the command of containers: docker or podman"),
		one("way", "", "how it gets its data: files, replication, or empty: by files where they are within reach"),
		one("replace", "", "yes, where all that the server has may be lost"),
	}
}

// about describes the dump.
func (s *Saved) about() string {
	name := cmp.Or(s.Facts.Name, "redis")
	about := fmt.Sprintf("the dump, in the directory of the restored files: %s %s, RDB version %d", name, s.Facts.Version, s.Dump.RDBVersion)
	for _, db := range slices.Sorted(maps.Keys(s.Facts.Keys)) {
		about += fmt.Sprintf(", %d keys in database %d", s.Facts.Keys[db], db)
	}
	return about
}
