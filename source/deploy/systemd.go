package deploy

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// maxUnits bounds how many units of an instance are believed.
const maxUnits = 100

// unitName is what Mastodon's units are called. A name becomes an argument of systemctl.
var unitName = regexp.MustCompile(`^mastodon[A-Za-z0-9:_.\\@-]{0,200}\.service$`)

// activeUnits returns the units of systemd that run what is in the live directory: none on a host without systemd.
func activeUnits(ctx context.Context, live string) ([]string, error) {
	path, err := lookUp("systemctl")
	if err != nil || path == "" {
		return nil, nil
	}
	systemctl := func(ctx context.Context, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, path, args...)
		cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
		cmd.Dir = "/"
		cmd.WaitDelay = 5 * time.Second
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGTERM}
		return cmd
	}
	out, err := ask(ctx, systemctl, "show", "--no-pager", "--property=Id,ActiveState,WorkingDirectory", "--", "mastodon*.service")
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, nil // a container, or a host that another init runs
	}
	return parseUnits(string(out), live)
}

// parseUnits reads the answer of `systemctl show`: a paragraph for each unit, a line for each property.
func parseUnits(text, live string) (units []string, err error) {
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		property := make(map[string]string)
		for line := range strings.Lines(paragraph) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			property[name] = value
		}
		// "!" says that the directory may be missing.
		dir := strings.TrimPrefix(property["WorkingDirectory"], "!")
		active := property["ActiveState"] == "active" || property["ActiveState"] == "reloading" || property["ActiveState"] == "activating"
		if !active || !filepath.IsAbs(dir) || !sameDir(dir, live) || !unitName.MatchString(property["Id"]) {
			continue
		}
		if units = append(units, property["Id"]); len(units) > maxUnits {
			return nil, fmt.Errorf("systemd has more than %d units of %s", maxUnits, live)
		}
	}
	slices.Sort(units)
	return slices.Compact(units), nil
}
