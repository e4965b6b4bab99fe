//go:build compose

package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
)

var record = flag.Bool("record", false, "write what docker answers to "+recordedFile)

var (
	recordedID   = regexp.MustCompile(`[0-9a-f]{64}`)
	recordedTime = regexp.MustCompile(`20\d\d-\d\d-\d\dT[0-9:.]+Z`)
	recordedPID  = regexp.MustCompile(`"Pid": \d+`)
	recordedEnv  = regexp.MustCompile(`(?s)"Env": \[[^\]]*"LOCAL_DOMAIN=[^\]]*\]`)
)

// testRecord asks docker what permafrost asks. Only where the flag says so it writes the answers down, without what differs from one run to the next.
func (w *composeTest) testRecord() {
	t, ctx := w.t, w.t.Context()
	const all = "label=com.docker.compose.project"
	ids, err := w.Docker(ctx, "ps", "--all", "--quiet", "--no-trunc", "--filter", all)
	if err != nil {
		t.Fatal(err)
	}
	questions := [][]string{{"--version"}, {"context", "inspect", "--format", "{{.Endpoints.docker.Host}}"},
		{"ps", "--all", "--quiet", "--no-trunc", "--filter", all}, append([]string{"container", "inspect"}, strings.Fields(ids)...)}
	for _, network := range []string{"external_network", "internal_network"} {
		questions = append(questions, []string{"ps", "--all", "--quiet", "--no-trunc", "--filter", "network=" + w.Project + "_" + network})
	}
	var answers []recordedAnswer
	for _, q := range questions {
		out, err := w.Docker(ctx, q...)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, recordedAnswer{strings.Join(q, " "), out})
		if q[0] == "ps" { // the same containers are looked at by their network
			inspect := append([]string{"container", "inspect"}, strings.Fields(out)...)
			if out, err = w.Docker(ctx, inspect...); err != nil {
				t.Fatal(err)
			}
			answers = append(answers, recordedAnswer{strings.Join(inspect, " "), out})
		}
	}
	seen := make(map[string]string)
	for i := range answers {
		for _, text := range []*string{&answers[i].Args, &answers[i].Stdout} {
			*text = w.normalize(*text, seen)
		}
	}
	text, err := json.MarshalIndent(answers, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if *record {
		if err := os.WriteFile(recordedFile, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// normalize returns an answer without IDs, times, processes and names of this run.
func (w *composeTest) normalize(text string, seen map[string]string) string {
	text = recordedID.ReplaceAllStringFunc(text, func(id string) string {
		if seen[id] == "" {
			seen[id] = fmt.Sprintf("%012x%052x", 0xc0de00+len(seen), 0)
			seen[id[:12]] = seen[id][:12]
		}
		return seen[id]
	})
	for old, id := range seen {
		if len(old) == 12 {
			text = strings.ReplaceAll(text, old, id)
		}
	}
	text = recordedTime.ReplaceAllString(text, "2026-06-27T03:30:00Z")
	text = recordedPID.ReplaceAllString(text, `"Pid": 4194400`) // above what a kernel gives
	text = recordedEnv.ReplaceAllString(text, `"Env": ["@ENV@"]`)
	return strings.NewReplacer(w.Live, "@LIVE@", w.Image, "mastodon:test", w.Project, "mastodon", "unix:///var/run/docker.sock", "unix://@SOCKET@").Replace(text)
}
