package console

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"permafrost/internal/hint"
	"permafrost/internal/keeper"
)

func TestDataAndTalkApart(t *testing.T) {
	for _, tt := range []struct {
		name      string
		set       func(*Console)
		out, errs string
	}{
		{"plain", func(*Console) {}, "data\n", "said\npermafrost: warning: careful\npermafrost: error: broken\npermafrost: hint: mend it\n"},
		{"verbose", func(u *Console) { u.Verbose = true }, "data\n", "said\ndetail\npermafrost: warning: careful\npermafrost: error: broken\npermafrost: hint: mend it\n"},
		{"quiet", func(u *Console) { u.Quiet = true }, "data\n", "permafrost: warning: careful\npermafrost: error: broken\npermafrost: hint: mend it\n"},
		{"json", func(u *Console) { u.InJSON = true },
			`{"message_type":"head","head":"7"}` + "\n",
			`{"message_type":"warning","message":"careful"}` + "\n" + `{"message_type":"error","code":1,"message":"broken","hint":"mend it"}` + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			u := New(&out, &errs)
			tt.set(u)
			u.Print("data")
			u.JSON(keeper.Head{Head: "7"})
			u.Say("said")
			u.Detail("detail")
			u.Warn("careful")
			u.Error(hint.Wrap(errors.New("broken"), "mend it"), 1, "mend it")
			if out.String() != tt.out || errs.String() != tt.errs {
				t.Errorf("stdout\n%sstderr\n%s", out.String(), errs.String())
			}
		})
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("pipe is broken") }

func TestWriteErrors(t *testing.T) {
	u := New(brokenPipe{}, brokenPipe{})
	if u.Settle(nil) != nil {
		t.Error("an error before anything was written")
	}
	u.Print("x")
	u.Print("y")
	if err := u.Settle(nil); err == nil || !strings.Contains(err.Error(), "pipe is broken") {
		t.Error(err)
	}
}

// An emptyMessage has no members, and a badMessage can't be JSON.
type (
	emptyMessage struct{}
	badMessage   chan int
)

func (emptyMessage) MessageType() string { return "empty" }
func (badMessage) MessageType() string   { return "bad" }

func TestJSONLine(t *testing.T) {
	line, err := jsonLine(emptyMessage{})
	if err != nil || string(line) != `{"message_type":"empty"}`+"\n" {
		t.Errorf("%s, %v", line, err)
	}
	if _, err := jsonLine(make(badMessage)); err == nil {
		t.Error("a channel is no JSON")
	}
}
