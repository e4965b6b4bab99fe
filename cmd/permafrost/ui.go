package main

// How permafrost talks:
//
//   - Data, what was asked for, goes to standard output; everything else goes to standard error.
//   - An error is one line, "permafrost: error: …", in lower case and without a full stop. Where the likely mistake
//     is known, "permafrost: hint: …" follows and says what to do.
//   - What went well but deserves attention is "permafrost: warning: …". What an age plugin says is "permafrost: age-plugin-NAME: …".
//   - Progress is drawn on a terminal alone, and is erased when the command ends.
//   - All of it passes through this file, which makes each message and each line of data one line of visible text
//     (permafrost/internal/escape): no name and no server can write to the terminal. Names are quoted where they could not
//     be read as they are. What is raw goes through Raw.
//   - With --json standard output holds one JSON object a line, each with a message_type; an error is one on standard
//     error.
//   - With --quiet a command that does something says nothing, but for warnings and errors; one that is asked
//     something answers.

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"permafrost/cmd/permafrost/internal/hints"
	"permafrost/internal/escape"
	"permafrost/internal/keeper"
)

// A ui writes what people and scripts read. Its methods may be called from several goroutines at once.
type ui struct {
	json    bool
	quiet   bool
	verbose bool
	drawing bool // standard error is a terminal that progress can be drawn on

	mu      sync.Mutex
	out     io.Writer
	err     io.Writer // while progress is drawn, what writes above it
	failure error     // the first failure to write data

	done string // what the command has done, "" where nothing yet
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
		u.write([]byte(escape.Line(fmt.Sprintf(format, args...)) + "\n"))
	}
}

// Lines is Print for several lines.
func (u *ui) Lines(lines []string) {
	for _, line := range lines {
		u.Print("%s", line)
	}
}

// Report is Print for what a command did, which the quiet don't want to hear.
func (u *ui) Report(format string, args ...any) {
	if !u.quiet {
		u.Print(format, args...)
	}
}

// JSON writes a message as a line of data, where data is JSON.
func (u *ui) JSON(m keeper.Message) {
	if !u.json {
		return
	}
	line, err := jsonLine(m)
	if err != nil {
		u.fail(err)
		return
	}
	u.write(line)
}

// Raw returns what takes data that are neither lines nor for people's eyes: a file's bytes, a protocol.
func (u *ui) Raw() io.Writer { return u.out }

// Text returns what takes data that may go to a terminal, and go there as visible text; anywhere else as they are.
func (u *ui) Text() io.Writer {
	if u.terminal() {
		return &visible{u.out}
	}
	return u.out
}

// write writes bytes of data.
func (u *ui) write(b []byte) {
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
	if u.failure == nil {
		u.failure = err
	}
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

// Finding tells what a verb has met.
func (u *ui) Finding(f keeper.Finding) {
	switch {
	case f.Severity == keeper.Damaging:
		u.JSON(f.Message())
		u.Print("damage: %v", f.Err)
	case f.Severity == keeper.Minor && u.quiet:
	case u.json:
		line, _ := jsonLine(f.Message())
		u.tell(string(line))
	case f.Severity == keeper.Minor:
		u.Say("%v", f.Err)
	default:
		u.talk("permafrost: warning: " + f.Err.Error())
	}
}

// Warn tells what deserves attention.
func (u *ui) Warn(format string, args ...any) {
	u.Finding(keeper.Finding{Severity: keeper.Notable, Err: fmt.Errorf(format, args...)})
}

// Plugin tells what an age plugin says, to the quiet too: it may wait for them.
func (u *ui) Plugin(name, text string) {
	if !u.json {
		u.talk("permafrost: age-plugin-" + name + ": " + text)
		return
	}
	line, _ := jsonLine(keeper.PluginMessage{Plugin: name, Message: escape.Cut(text, escape.MaxMessage)})
	u.tell(string(line))
}

// Hint says what to do about what was told, unless the ui speaks JSON.
func (u *ui) Hint(text string) {
	if !u.json {
		u.talk("permafrost: hint: " + text)
	}
}

// Error tells why the command ends, with the exit code.
func (u *ui) Error(err error, code int) {
	h := hints.Last(err)
	if u.json {
		line, _ := jsonLine(keeper.Failure{Code: code, Message: escape.Cut(err.Error(), escape.MaxMessage), Hint: h})
		u.tell(string(line))
		return
	}
	u.talk("permafrost: error: " + err.Error())
	if h != "" {
		u.talk("permafrost: hint: " + h)
	}
}

// talk writes a message to standard error, as one line.
func (u *ui) talk(message string) { u.tell(escape.Terminal(message) + "\n") }

// tell writes a line to standard error.
func (u *ui) tell(line string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	io.WriteString(u.err, line) // who can't hear can't be told
}

// redirect makes w take what goes to standard error, and returns what took it before.
func (u *ui) redirect(w io.Writer) (before io.Writer) {
	u.mu.Lock()
	defer u.mu.Unlock()
	before, u.err = u.err, w
	return before
}

// jsonLine returns a message as a line of visible text, with message_type as its first member.
func jsonLine(m keeper.Message) ([]byte, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", m.MessageType(), err)
	}
	line := fmt.Appendf(nil, `{"message_type":%q`, m.MessageType())
	if string(body) != "{}" {
		line = append(line, ',')
	}
	return append(escape.JSON(append(line, body[1:]...)), '\n'), nil
}

// A visible writer takes text of several lines, and passes it on as visible text. Each write ends between two characters.
type visible struct{ w io.Writer }

func (v *visible) Write(p []byte) (int, error) {
	lines := strings.Split(string(p), "\n")
	for i, line := range lines {
		parts := strings.Split(line, "\t")
		for j := range parts {
			parts[j] = escape.Line(parts[j])
		}
		lines[i] = strings.Join(parts, "\t")
	}
	if _, err := io.WriteString(v.w, strings.Join(lines, "\n")); err != nil {
		return 0, err
	}
	return len(p), nil
}
