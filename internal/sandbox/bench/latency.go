package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// distant is the part of the media that the others carry, since they take long: a small part of the bytes.
const distant = "cache/accounts"

// latency is the mode latency.
func (b *bench) latency() error {
	return b.with(statuses*b.scale, files*b.scale, func() error {
		file := filepath.Join(b.Dir, "bench", "dump.raw")
		if _, err := b.do(&program{name: "dump"}, b.Home, dump+` > "$FILE"`, "FILE="+file); err != nil {
			return err
		}
		b.dump = fileSize(file)
		if err := os.Remove(file); err != nil {
			return err
		}
		whole, part := b.System(), filepath.Join(b.System(), distant)
		fmt.Printf("\nThroughput in MB/s by round trip time, %.2f GB; %.2f GB for the others\n\n",
			float64(size(whole)+b.dump)/1e9, float64(size(part)+b.dump)/1e9)
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(w, "RTT\tprogram\tupload\trestore\t")
		for _, rtt := range []time.Duration{0, 20, 50, 100} {
			if err := b.behind(rtt*time.Millisecond, whole, part, w); err != nil {
				return err
			}
		}
		return w.Flush()
	})
}

// behind measures every program behind a relay.
func (b *bench) behind(rtt time.Duration, whole, part string, w *tabwriter.Writer) error {
	r, err := newRelay(net.JoinHostPort(b.SSHD.Host, strconv.Itoa(b.SSHD.Port)), rtt/2)
	if err != nil {
		return err
	}
	defer r.Close()
	home, err := b.homeFor(r.Addr().(*net.TCPAddr).Port)
	if err != nil {
		return err
	}
	for _, p := range b.programs() {
		if p.mirror {
			continue
		}
		say("latency: %v: %s", rtt, p.name)
		system := part
		if p.binary != "" {
			system = whole
		}
		p.env = slices.Clone(p.env)
		target := filepath.Join(b.Dir, "bench", "far", p.name, rtt.String())
		vars := []string{"SYSTEM=" + system, "NIGHT=0", "TARGET=" + target}
		// Every delay has a repository of its own.
		if _, err := b.do(&p, home, `rm -rf "$REPO" cache state *.key `+"\n"+p.init, vars...); err != nil {
			return err
		}
		p.night = strings.Replace(p.night, "::media$NIGHT system", "::media$NIGHT "+filepath.Base(distant), 1)
		up, err := b.do(&p, home, p.night, vars...)
		if err != nil {
			return err
		}
		down, err := b.do(&p, home, p.restore, vars...)
		if err != nil {
			return err
		}
		bytes := float64(size(system)+b.dump) / 1e6
		fmt.Fprintf(w, "%v\t%s\t%.0f\t%.0f\t\n", rtt, p.name, bytes/up.Wall.Seconds(), bytes/down.Wall.Seconds())
	}
	return nil
}

// homeFor returns a home directory whose SSH configuration reaches the server by another port.
func (b *bench) homeFor(port int) (string, error) {
	home := filepath.Join(b.Dir, "bench", "home"+strconv.Itoa(port))
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		return "", err
	}
	was, is := strconv.Itoa(b.SSHD.Port), strconv.Itoa(port)
	config, err := os.ReadFile(filepath.Join(b.Home, ".ssh", "config"))
	if err != nil {
		return "", err
	}
	known, err := os.ReadFile(b.SSHD.KnownHosts)
	if err != nil {
		return "", err
	}
	text := strings.ReplaceAll(string(config), "Port "+was, "Port "+is)
	text = strings.ReplaceAll(text, filepath.Join(b.Home, ".ssh", "known_hosts"), filepath.Join(home, ".ssh", "known_hosts"))
	if err := os.WriteFile(filepath.Join(home, ".ssh", "config"), []byte(text), 0o600); err != nil {
		return "", err
	}
	text = strings.ReplaceAll(string(known), "]:"+was+" ", "]:"+is+" ")
	return home, os.WriteFile(filepath.Join(home, ".ssh", "known_hosts"), []byte(text), 0o600)
}
