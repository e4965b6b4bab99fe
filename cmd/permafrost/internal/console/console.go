// Package console is how permafrost talks:
//
//   - Data, what was asked for, goes to standard output; everything else goes to standard error.
//   - An error is one line, "permafrost: error: …", in lower case and without a full stop. Where the likely mistake
//     is known, "permafrost: hint: …" follows and says what to do.
//   - What went well but deserves attention is "permafrost: warning: …". What an age plugin says is "permafrost: age-plugin-NAME: …".
//   - Progress is drawn on a terminal alone, and is erased when the command ends.
//   - All of it passes through a Console, which makes each message and each line of data one line of visible text
//     (permafrost/internal/escape): no name and no server can write to the terminal. Names are quoted where they could not
//     be read as they are. What is raw goes through Raw. The trace of an aborted command alone goes past it: that consists of
//     names in the program.
//   - With --json standard output holds one JSON object a line, each with a message_type; an error is one on standard
//     error.
//   - With --quiet a command that does something says nothing, but for warnings and errors; one that is asked
//     something answers.
package console

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"permafrost/internal/escape"
	"permafrost/internal/keeper"
)

// A Console writes what people and scripts read. Its methods may be called from several goroutines at once.
type Console struct {
	// What --json, --quiet and --verbose say. It is settled before anything is written.
	InJSON, Quiet, Verbose bool

	drawing bool // standard error is a terminal

	mu      sync.Mutex
	out     io.Writer
	err     io.Writer // while progress is drawn, what writes above it
	failure error     // the first failure to write data

	done string // what the command has done, "" where nothing yet
}

// New returns a console that writes data to out, and all else to err.
func New(out, err io.Writer) *Console {
	f, ok := err.(*os.File)
	return &Console{out: out, err: err, drawing: ok && term.IsTerminal(int(f.Fd()))}
}

// draws reports whether progress is drawn.
func (c *Console) draws() bool { return c.drawing && !c.Quiet && !c.InJSON }

// Pages returns what takes pages of help: for standard output, and for standard error.
func (c *Console) Pages() (out, err io.Writer) { return &visible{c.out}, &visible{c.err} }

// Terminal reports whether data would be written to a terminal.
func (c *Console) Terminal() bool {
	f, ok := c.out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Print writes a line of data, unless data is JSON.
func (c *Console) Print(format string, args ...any) {
	if !c.InJSON {
		c.write([]byte(escape.Line(fmt.Sprintf(format, args...)) + "\n"))
	}
}

// Lines is Print for several lines.
func (c *Console) Lines(lines []string) {
	for _, line := range lines {
		c.Print("%s", line)
	}
}

// Report is Print for what a command did, which the quiet don't want to hear.
func (c *Console) Report(format string, args ...any) {
	if !c.Quiet {
		c.Print(format, args...)
	}
}

// JSON writes a message as a line of data, where data is JSON.
func (c *Console) JSON(m keeper.Message) {
	if !c.InJSON {
		return
	}
	line, err := jsonLine(m)
	if err != nil {
		c.fail(err)
		return
	}
	c.write(line)
}

// Raw returns what takes data that are neither lines nor for people's eyes: a file's bytes, a protocol.
func (c *Console) Raw() io.Writer { return c.out }

// Text returns what takes data that may go to a terminal, and go there as visible text; anywhere else as they are.
func (c *Console) Text() io.Writer {
	if c.Terminal() {
		return &visible{c.out}
	}
	return c.out
}

// write writes bytes of data.
func (c *Console) write(b []byte) {
	c.mu.Lock()
	_, err := c.out.Write(b)
	c.mu.Unlock()
	if err != nil {
		c.fail(fmt.Errorf("writing to standard output: %w", err))
	}
}

func (c *Console) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure == nil {
		c.failure = err
	}
}

// Say tells what happens, unless the console is quiet or speaks JSON.
func (c *Console) Say(format string, args ...any) {
	if !c.Quiet && !c.InJSON {
		c.talk(fmt.Sprintf(format, args...))
	}
}

// Detail is Say for those who asked for more.
func (c *Console) Detail(format string, args ...any) {
	if c.Verbose {
		c.Say(format, args...)
	}
}

// Finding tells what a verb has met.
func (c *Console) Finding(f keeper.Finding) {
	switch {
	case f.Severity == keeper.Damaging:
		c.JSON(f.Message())
		c.Print("damage: %v", f.Err)
	case f.Severity == keeper.Minor && c.Quiet:
	case c.InJSON:
		line, _ := jsonLine(f.Message())
		c.tell(string(line))
	case f.Severity == keeper.Minor:
		c.Say("%v", f.Err)
	default:
		c.talk("permafrost: warning: " + f.Err.Error())
	}
}

// Warn tells what deserves attention.
func (c *Console) Warn(format string, args ...any) {
	c.Finding(keeper.Finding{Severity: keeper.Notable, Err: fmt.Errorf(format, args...)})
}

// Plugin tells what an age plugin says, to the quiet too: it may wait for them.
func (c *Console) Plugin(name, text string) {
	if !c.InJSON {
		c.talk("permafrost: age-plugin-" + name + ": " + text)
		return
	}
	line, _ := jsonLine(keeper.PluginMessage{Plugin: name, Message: escape.Cut(text, escape.MaxMessage)})
	c.tell(string(line))
}

// Hint says what to do about what was told, unless the console speaks JSON.
func (c *Console) Hint(text string) {
	if !c.InJSON {
		c.talk("permafrost: hint: " + text)
	}
}

// Error tells why the command ends, with the exit code, and what to do about it unless h is "".
func (c *Console) Error(err error, code int, h string) {
	if c.InJSON {
		line, _ := jsonLine(keeper.Failure{Code: code, Message: escape.Cut(err.Error(), escape.MaxMessage), Hint: h})
		c.tell(string(line))
		return
	}
	c.talk("permafrost: error: " + err.Error())
	if h != "" {
		c.talk("permafrost: hint: " + h)
	}
}

// talk writes a message to standard error, as one line.
func (c *Console) talk(message string) { c.tell(escape.Terminal(message) + "\n") }

// tell writes a line to standard error.
func (c *Console) tell(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	io.WriteString(c.err, line) // who can't hear can't be told
}

// redirect makes w take what goes to standard error, and returns what took it before.
func (c *Console) redirect(w io.Writer) (before io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, c.err = c.err, w
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
