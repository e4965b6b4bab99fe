package source

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"permafrost/internal/hint"
)

const (
	// maxValue bounds one value, in bytes, variables replaced: a certificate has a few thousand.
	maxValue = 64 << 10

	// maxValues bounds all assignments together: each may repeat a long value by a short name.
	maxValues = 4 * maxEnv
)

// An environ holds the variables of a settings file.
//
// The grammar is that of the dotenv gem (version 3), which is what Mastodon reads the file with:
//
//	NAME=value   NAME: value   export NAME=value   export NAME   # comment
//
// A '#' ends an unquoted value, with or without a space before it. Single quotes keep everything; in double
// quotes and outside of quotes a backslash takes the next character literally (\n and \r in double quotes
// stay as written) and $NAME and ${NAME} are replaced by variables above in the file, unset ones by nothing.
// Quoted values may span lines. Of several assignments the last one wins. $(command) is never run.
//
// Where the gem skips over a line that it does not understand, this is an error: a backup must not guess.
type environ struct {
	values   map[string]string
	size     int            // bytes of all values that were ever assigned
	commands map[string]int // names whose value holds $(command), and the line
	err      error          // the first such name that was asked for
}

// get returns the value of a variable, or "" where it is unset.
func (e *environ) get(name string) string {
	v, _ := e.lookup(name)
	return v
}

// lookup is get that tells an empty variable from an unset one.
func (e *environ) lookup(name string) (value string, set bool) {
	if line, ok := e.commands[name]; ok && e.err == nil {
		e.err = hint.Wrap(fmt.Errorf("line %d: %s holds a shell command, which is not run", line, name), "write the value out")
	}
	value, set = e.values[name]
	return value, set
}

// first returns the first value that is not empty, or "".
func (e *environ) first(names ...string) string {
	for _, name := range names {
		if v := e.get(name); v != "" {
			return v
		}
	}
	return ""
}

// parseEnv reads the text of a settings file. Its errors name the line, never what stands there.
func parseEnv(data []byte) (*environ, error) {
	text := strings.TrimPrefix(string(data), "\uFEFF")
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	e := &environ{values: make(map[string]string), commands: make(map[string]int)}
	var exports []export
	for line := 1; text != ""; {
		s, err := parseStatement(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		for _, name := range s.exports {
			exports = append(exports, export{name, line})
		}
		if s.name != "" {
			if err := e.set(s, line); err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
		}
		line += strings.Count(text[:s.len], "\n")
		text = text[s.len:]
	}
	for _, x := range exports {
		if _, set := e.values[x.name]; !set {
			return nil, hint.Wrap(fmt.Errorf("line %d: a variable is exported that the file does not set", x.line), "Mastodon does not start with such a line: remove it or set the variable")
		}
	}
	return e, nil
}

// An export is a name in an "export NAME" without a value: it must be set somewhere in the file.
type export struct {
	name string
	line int
}

// set assigns the value of a statement that begins on the given line.
func (e *environ) set(s statement, line int) error {
	value, command := e.expand(s)
	if len(value) > maxValue {
		return fmt.Errorf("a value is longer than %d bytes", maxValue)
	}
	if e.size += len(value); e.size > maxValues {
		return fmt.Errorf("all values are longer than %d bytes together", maxValues)
	}
	e.values[s.name] = value
	delete(e.commands, s.name)
	if command {
		e.commands[s.name] = line
	}
	return nil
}

// A statement is one assignment, or one list of exported names, or nothing (a blank line or a comment).
type statement struct {
	len     int // bytes of text it takes, its newline included
	exports []string
	name    string
	raw     string // the value without its quotes, nothing expanded
	quote   byte   // ' or " around it, or 0
}

var (
	errNotAssignment = hint.Wrap(errors.New("not an assignment"), "each line of .env.production reads NAME=value, or starts with #")
	errOpenQuote     = hint.Wrap(errors.New("a quote is not closed"), "close the quote, or put the value into the other kind of quotes")
	errBadText       = errors.New("not UTF-8 text")
)

// parseStatement reads the statement at the start of text.
func parseStatement(text string) (statement, error) {
	line, _, _ := strings.Cut(text, "\n")
	s := statement{len: min(len(line)+1, len(text))}
	if !utf8.ValidString(line) || strings.ContainsRune(line, 0) {
		return s, errBadText
	}
	rest := trimLeft(line)
	if rest == "" || rest[0] == '#' {
		return s, nil
	}
	if after, ok := strings.CutPrefix(rest, "export"); ok && trimLeft(after) != after {
		rest = trimLeft(after)
		if names, ok := nameList(rest); ok {
			s.exports = names
			return s, nil
		}
	}
	n := nameLen(rest)
	name, rest := rest[:n], rest[n:]
	value, ok := strings.CutPrefix(trimLeft(rest), "=")
	if !ok {
		// The form NAME: value wants its space.
		value, ok = strings.CutPrefix(rest, ":")
		ok = ok && (value == "" || trimLeft(value) != value)
	}
	if !ok || name == "" {
		return s, errNotAssignment
	}
	s.name = name
	return s, s.parseValue(text, len(line)-len(value))
}

// parseValue reads the value that starts at text[start:], behind the name and its separator.
func (s *statement) parseValue(text string, start int) error {
	line, _, _ := strings.Cut(text[start:], "\n")
	start += len(line) - len(trimLeft(line))
	line = trimLeft(line)
	if line != "" && (line[0] == '\'' || line[0] == '"') {
		s.quote = line[0]
		if end := closingQuote(text[start:]); end > 0 {
			s.raw = text[start+1 : start+end]
			tail, _, _ := strings.Cut(text[start+end:], "\n")
			s.len = min(start+end+len(tail)+1, len(text))
			if !utf8.ValidString(s.raw) || strings.ContainsRune(s.raw, 0) {
				return errBadText
			}
			return nil
		}
		if strings.IndexByte(line[1:], s.quote) < 0 {
			return errOpenQuote
		}
	}
	// Unquoted, or with something behind the quotes: then they belong to the value.
	s.quote = 0
	s.raw, _, _ = strings.Cut(line, "#")
	s.raw = strings.TrimSpace(s.raw)
	if n := len(s.raw); n > 1 && (s.raw[0] == '\'' || s.raw[0] == '"') && s.raw[n-1] == s.raw[0] {
		s.quote, s.raw = s.raw[0], s.raw[1:n-1]
	}
	return nil
}

// closingQuote returns the index of the quote that closes the one at text[0]: the first that no backslash
// precedes, if its line then ends or goes on with a comment. Failing that, one with a backslash before it
// will do, the last first. It returns 0 where none closes.
func closingQuote(text string) int {
	var escaped []int
	for i := 1; i < min(len(text), maxValue); i++ {
		if text[i] != text[0] {
			continue
		}
		if text[i-1] == '\\' {
			escaped = append(escaped, i)
			continue
		}
		if endsLine(text[i+1:]) {
			return i
		}
		break
	}
	for n := len(escaped) - 1; n >= 0; n-- {
		if endsLine(text[escaped[n]+1:]) {
			return escaped[n]
		}
	}
	return 0
}

func endsLine(text string) bool {
	rest := trimLeft(text)
	return rest == "" || rest[0] == '\n' || rest[0] == '#'
}

// expand resolves a value's backslashes and variables. It reports whether a command stands in it.
func (e *environ) expand(s statement) (value string, command bool) {
	if s.quote == '\'' {
		return s.raw, false
	}
	raw := unescape(s.raw, s.quote == '"')
	var b strings.Builder
	for i := 0; i < len(raw) && b.Len() <= maxValue; {
		switch c := raw[i]; {
		case c == '\\' && i+1 < len(raw) && raw[i+1] == '$':
			i++
			n := max(variableLen(raw[i:]), 1)
			b.WriteString(raw[i : i+n])
			i += n
		case c == '$':
			n := variableLen(raw[i:])
			if n == 0 { // a $(
				command = true
				n = 1
			}
			name := strings.Trim(raw[i:i+n], "${}")
			if name == "" {
				b.WriteString(raw[i : i+n])
			} else {
				b.WriteString(e.values[name])
				if _, ok := e.commands[name]; ok {
					command = true
				}
			}
			i += n
		default:
			b.WriteByte(c)
			i++
		}
	}
	return b.String(), command
}

// variableLen returns the length of $NAME or ${NAME} or a lone $ at the start of s; 0 for a $(.
func variableLen(s string) int {
	i := 1
	if strings.HasPrefix(s[i:], "(") {
		return 0
	}
	if strings.HasPrefix(s[i:], "{") {
		i++
	}
	for i < len(s) && isWord(s[i]) {
		i++
	}
	if strings.HasPrefix(s[i:], "}") {
		i++
	}
	return i
}

// unescape removes the backslashes that stand before anything but a $.
func unescape(s string, double bool) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && s[i+1] != '$' {
			i++
			if double && (s[i] == 'n' || s[i] == 'r') {
				b.WriteByte('\\')
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// nameList splits the names of "export A B"; ok is false where rest is anything else.
func nameList(rest string) (names []string, ok bool) {
	rest, _, _ = strings.Cut(rest, "#")
	names = strings.Fields(rest)
	for _, name := range names {
		if nameLen(name) != len(name) {
			return nil, false
		}
	}
	return names, len(names) > 0
}

func nameLen(s string) int {
	n := 0
	for n < len(s) && (isWord(s[n]) || s[n] == '.') {
		n++
	}
	return n
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func trimLeft(s string) string { return strings.TrimLeft(s, " \t\v\f") }
