package main

// How permafrost talks:
//
//   - Data, what was asked for, goes to standard output; everything else goes to standard error.
//   - An error is one line, "permafrost: error: …", in lower case and without a full stop. Where the likely mistake
//     is known, "permafrost: hint: …" follows and says what to do.
//   - What went well but deserves attention is "permafrost: warning: …".
//   - Progress is drawn on a terminal alone, and is gone when the command ends.
//   - Names from a file system or a storage are quoted where they could not be read as they are: no file can write
//     to the terminal by its name.
//   - With --json standard output holds one JSON object a line, each with a message_type; an error is one on standard
//     error.
//   - With --quiet a command that does something says nothing, but for warnings and errors; one that is asked
//     something answers.

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"permafrost/internal/hint"
)

// A ui writes what people and scripts read. Its methods may be called from several goroutines at once.
type ui struct {
	json    bool
	quiet   bool
	verbose bool
	drawing bool // standard error is a terminal that progress can be drawn on

	mu  sync.Mutex
	out io.Writer
	err io.Writer // while progress is drawn, what writes above it
	bad error     // the first failure to write data
}

func newUI(out, err io.Writer) *ui {
	f, ok := err.(*os.File)
	return &ui{out: out, err: err, drawing: ok && term.IsTerminal(int(f.Fd()))}
}

// terminal reports whether data would be written to a terminal.
func (u *ui) terminal() bool {
	f, ok := u.out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Print writes a line of data, unless data is JSON.
func (u *ui) Print(format string, args ...any) {
	if !u.json {
		u.Data([]byte(fmt.Sprintf(format, args...) + "\n"))
	}
}

// Report is Print for what a command did, which the quiet don't want to hear.
func (u *ui) Report(format string, args ...any) {
	if !u.quiet {
		u.Print(format, args...)
	}
}

// JSON writes v as a line of data, with its message_type, where data is JSON.
func (u *ui) JSON(messageType string, v any) {
	if !u.json {
		return
	}
	line, err := jsonLine(messageType, v)
	if err != nil {
		u.fail(err)
		return
	}
	u.Data(line)
}

// Data writes bytes of data.
func (u *ui) Data(b []byte) {
	u.mu.Lock()
	_, err := u.out.Write(b)
	u.mu.Unlock()
	if err != nil {
		u.fail(fmt.Errorf("writing to standard output: %w", err))
	}
}

func (u *ui) fail(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.bad == nil {
		u.bad = err
	}
}

// writeError returns the first failure to write data.
func (u *ui) writeError() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.bad
}

// Say tells what happens, unless the ui is quiet or speaks JSON.
func (u *ui) Say(format string, args ...any) {
	if !u.quiet && !u.json {
		u.talk(fmt.Sprintf(format, args...))
	}
}

// Detail is Say for those who asked for more.
func (u *ui) Detail(format string, args ...any) {
	if u.verbose {
		u.Say(format, args...)
	}
}

// Warn tells what deserves attention.
func (u *ui) Warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !u.json {
		u.talk("permafrost: warning: " + text)
		return
	}
	line, _ := jsonLine("warning", struct {
		Message string `json:"message"`
	}{text})
	u.talk(string(line[:len(line)-1]))
}

// Error tells why the command ends, with the exit code.
func (u *ui) Error(err error, code int) {
	h := hint.Of(err)
	if u.json {
		line, _ := jsonLine("error", struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
			Hint    string `json:"hint,omitempty"`
		}{code, err.Error(), h})
		u.talk(string(line[:len(line)-1]))
		return
	}
	u.talk("permafrost: error: " + err.Error())
	if h != "" {
		u.talk("permafrost: hint: " + h)
	}
}

// talk writes a line to standard error.
func (u *ui) talk(line string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	io.WriteString(u.err, line+"\n") // who can't hear can't be told
}

// redirect makes w take what goes to standard error, and returns what took it before.
func (u *ui) redirect(w io.Writer) (before io.Writer) {
	u.mu.Lock()
	defer u.mu.Unlock()
	before, u.err = u.err, w
	return before
}

// jsonLine returns the JSON object v as a line, with message_type as its first member.
func jsonLine(messageType string, v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", messageType, err)
	}
	line := fmt.Appendf(nil, `{"message_type":%q`, messageType)
	if string(body) != "{}" {
		line = append(line, ',')
	}
	return append(append(line, body[1:]...), '\n'), nil
}

// printable returns a name from elsewhere as it is, or quoted where it holds what a terminal would not show as it is.
func printable(name string) string {
	if !utf8.ValidString(name) || name == "" || name[0] == '"' {
		return strconv.Quote(name)
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return strconv.Quote(name)
		}
	}
	return name
}
