package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"permafrost/internal/keeper"
)

// A run in JSON tells each second how far it is, as long as something moves, and nothing after Close.
func TestProgressStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		u := New(&out, io.Discard)
		u.InJSON = true
		p := NewProgress(u)
		p.Phase(keeper.Phase{Name: "media", Files: 3, Done: 500, Total: 1000})
		time.Sleep(10*statusEvery + 1)
		p.Phase(keeper.Phase{Name: "media", Files: 4, Done: 600, Total: 1000})
		time.Sleep(statusEvery)
		p.Phase(keeper.Phase{Name: "media", Files: 4, Done: 600, Total: 1000, Ended: true})
		p.Close()
		time.Sleep(statusEvery)
		want := []keeper.Status{
			{Component: "media", Files: 3, Bytes: 500, Total: 1000, Seconds: 1},
			{Component: "media", Files: 4, Bytes: 600, Total: 1000, Seconds: 11},
		}
		var got []keeper.Status
		for line := range bytes.Lines(out.Bytes()) {
			var s keeper.Status
			if err := json.Unmarshal(line, &s); err != nil || !bytes.HasPrefix(line, []byte(`{"message_type":"status",`)) {
				t.Errorf("%s: %v", line, err)
			}
			got = append(got, s)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// Nothing is drawn where nobody looks.
func TestProgressIsSilent(t *testing.T) {
	for _, set := range []func(*Console){func(*Console) {}, func(u *Console) { u.InJSON, u.Quiet = true, true }} {
		var out bytes.Buffer
		u := New(&out, &out)
		set(u)
		p := NewProgress(u)
		p.Phase(keeper.Phase{Name: "media", Files: 1, Done: 1 << 20})
		p.Phase(keeper.Phase{Name: "packs", Done: 1, Total: 2})
		p.Phase(keeper.Phase{Name: "media", Ended: true})
		p.Close()
		p.Close()
		if out.Len() > 0 {
			t.Errorf("wrote %q", out.String())
		}
	}
}

// What is said while bars are drawn arrives, and afterwards goes straight to standard error again.
func TestProgressBars(t *testing.T) {
	var out, errs bytes.Buffer
	u := New(&out, &errs)
	u.drawing = true
	p := NewProgress(u)
	p.Phase(keeper.Phase{Name: "media", Total: 1 << 20, About: true})
	p.Phase(keeper.Phase{Name: "media", Files: 1, Done: 2 << 20, Total: 1 << 20, About: true}) // more than was guessed
	p.Phase(keeper.Phase{Name: "redis"})
	u.Warn("careful")
	p.Phase(keeper.Phase{Name: "redis", Ended: true})
	p.Phase(keeper.Phase{Name: "redis"}) // once more
	p.Close()
	u.Warn("again")
	if text := errs.String(); !strings.Contains(text, "permafrost: warning: careful\n") || !strings.HasSuffix(text, "permafrost: warning: again\n") || out.Len() > 0 {
		t.Errorf("stdout %q, stderr %q", out.String(), text)
	}
}

func TestPartLine(t *testing.T) {
	start := time.Now()
	for _, tt := range []struct {
		done, total, files int64
		about              bool
		after              time.Duration
		want               string
	}{
		{0, 0, 0, false, 10 * time.Millisecond, " working"},
		{0, 0, 0, false, time.Minute, " working, 1m00s"},
		{1 << 20, 0, 0, false, 10 * time.Second, " 1.00 MiB, 102 KiB/s"},
		{1 << 20, 3 << 20, 12, false, 10 * time.Second, " 1.00 MiB of 3.00 MiB, 12 files, 102 KiB/s, 20s left"},
		{1 << 20, 3 << 20, 1, true, 10 * time.Millisecond, " 1.00 MiB of about 3.00 MiB, 1 file"},
		{4 << 20, 3 << 20, 0, true, 4 * time.Second, " 4.00 MiB of about 3.00 MiB, 1.00 MiB/s"},
	} {
		q := &part{start: start}
		q.bytes.Store(tt.done)
		q.total.Store(tt.total)
		q.files.Store(tt.files)
		q.guessed.Store(tt.about)
		if got := q.line(start.Add(tt.after)); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// What goes to the storage is asked for: what is durable, and what is still to be sent.
func TestSendingLine(t *testing.T) {
	start := time.Now()
	q := &part{start: start, traffic: func() (sent, packed int64) { return 0, 0 }}
	if got, want := q.line(start.Add(10*time.Second)), " nothing to send yet"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	q.traffic = func() (sent, packed int64) { return 20 << 20, 30 << 20 }
	if got, want := q.line(start.Add(10*time.Second)), " 20.0 MiB stored, 10.0 MiB to send, 2.00 MiB/s, 5.0s left"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
