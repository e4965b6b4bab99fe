package source

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	// maxValue bounds one value, in bytes, variables replaced: a certificate has a few thousand.
	maxValue = 64 << 10

	// maxValues bounds all assignments of a file together: each may repeat a long value by a short name.
	maxValues = 4 * maxEnv
)

// An environ holds the variables of the settings files.
//
// The grammar is that of the dotenv gem (version 3), which is what Mastodon reads them with:
//
//	NAME=value   NAME: value   NAME   export NAME=value   # comment
//
// A '#' ends an unquoted value, with or without a space before it. Single quotes keep everything; in double
// quotes and outside of quotes a backslash takes the next character literally (\n and \r in double quotes
// stay as written) and $NAME and ${NAME} are replaced by variables above in the file or in a file before it, unset ones by
// nothing. Quoted values may span lines. Of several assignments in a file the last one wins, of several files the first one.
//
// What the gem skips is skipped, and told as a warning. What can't be known is an error where it is asked for: the output of
// $(command), which is never run, and what is no text.
type environ struct {
	values map[string]string // of all files that were read
	file   map[string]string // of the file at hand
	size   int               // bytes of all values that were ever assigned in it
	doubts map[string]string // names whose value is not known, and why

	warnings []string
	err      error // the first such name that was asked for
}

func newEnviron() *environ {
	return &environ{values: make(map[string]string), doubts: make(map[string]string)}
}

// get returns the value of a variable, or "" where it is unset.
func (e *environ) get(name string) string {
	v, _ := e.lookup(name)
	return v
}

// lookup is get that tells an empty variable from an unset one.
func (e *environ) lookup(name string) (value string, set bool) {
	if why, ok := e.doubts[name]; ok && e.err == nil {
		e.err = Because(CauseValueUnknown, fmt.Errorf("%s %s", name, why))
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

// space is what dotenv's \s is.
const space = `[ \t\n\v\f\r]`

// statement is the gem's own expression for an assignment, whatever stands between the assignments being skipped. Its groups
// are the word export, the name, and the value with its quotes. Both languages look for the leftmost match first, and try what
// stands first in the expression first.
var statement = regexp.MustCompile(strings.NewReplacer(`\s`, space, "\n", "", "\t", "").Replace(`(?m)^\s*
	(export\s+)?
	([\w.]+)
	(?:(?:\s*=\s*?|:\s+?)
		(\s*'(?:\\'|[^'])*'|\s*"(?:\\"|[^"])*"|[^#\n]+)?
	)?
	\s*(?:#.*)?$`))

// parse reads the text of one more settings file of that name. Its warnings and errors name the line, never what stands there.
func (e *environ) parse(name string, data []byte) error {
	e.file, e.size = make(map[string]string), 0
	text := strings.TrimPrefix(string(data), "\uFEFF")
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	at := &fileLine{file: name, line: 1}
	for {
		m := statement.FindStringSubmatchIndex(text)
		if m == nil {
			e.skip(at, text)
			break
		}
		e.skip(at, text[:m[0]])
		at.pass(text[m[0]:m[4]])
		s := assignment{name: text[m[4]:m[5]], export: m[2] >= 0, line: at.String()}
		if m[6] >= 0 {
			s.value, s.set = text[m[6]:m[7]], true
		}
		if err := e.assign(&s); err != nil {
			return fmt.Errorf("%s: %w", s.line, err)
		}
		at.pass(text[m[4]:m[1]])
		text = text[m[1]:]
	}
	for name, value := range e.file {
		if _, earlier := e.values[name]; !earlier {
			e.values[name] = value
		}
	}
	return nil
}

// A fileLine is a line of a file, which has a name unless it is .env.production.
type fileLine struct {
	file string
	line int
}

func (p *fileLine) pass(text string) { p.line += strings.Count(text, "\n") }

func (p *fileLine) String() string {
	if p.file == "" {
		return fmt.Sprintf("line %d", p.line)
	}
	return fmt.Sprintf("line %d of %s", p.line, p.file)
}

// skip passes over text between assignments, and warns of lines that are neither blank nor comments.
func (e *environ) skip(at *fileLine, text string) {
	for line := range strings.Lines(text) {
		if rest := strings.TrimLeft(line, " \t\n\v\f\r"); rest != "" && rest[0] != '#' {
			e.warn(at.String() + ": not an assignment like NAME=value: Mastodon skips it, and so does permafrost")
		}
		at.pass(line)
	}
}

const maxEnvWarnings = 20

func (e *environ) warn(text string) {
	if len(e.warnings) < maxEnvWarnings {
		e.warnings = append(e.warnings, text)
	}
}

// An assignment is one match of the statement.
type assignment struct {
	export bool
	name   string
	value  string // with its quotes, nothing expanded
	set    bool   // there is a value
	line   string // where it begins
}

// assign takes over one assignment, unless a file before this one has made it.
func (e *environ) assign(s *assignment) error {
	if earlier, ok := e.values[s.name]; ok {
		e.file[s.name] = earlier
		return nil
	}
	if s.export && !s.set {
		if _, ok := e.file[s.name]; !ok {
			e.warn(s.line + ": a variable is exported that has no value: Mastodon does not start with that line")
		}
		return nil
	}
	value, why := e.expand(s)
	if len(value) > maxValue {
		return fmt.Errorf("a value is longer than %d bytes", maxValue)
	}
	if e.size += len(value); e.size > maxValues {
		return fmt.Errorf("all values are longer than %d bytes together", maxValues)
	}
	e.file[s.name] = value
	delete(e.doubts, s.name)
	if why != "" {
		e.doubts[s.name] = why
	}
	return nil
}

// expand returns what a value stands for: without its quotes, its backslashes and variables resolved. If that can't be known,
// why says so.
func (e *environ) expand(s *assignment) (value, why string) {
	raw := strings.Trim(s.value, " \t\n\v\f\r")
	if !utf8.ValidString(raw) || strings.ContainsRune(raw, 0) {
		return raw, "is no text on " + s.line
	}
	quote := byte(0)
	if n := len(raw); n > 1 && (raw[0] == '\'' || raw[0] == '"') && raw[n-1] == raw[0] {
		quote, raw = raw[0], raw[1:n-1]
	} else if raw != "" && (raw[0] == '\'' || raw[0] == '"') {
		e.warn(fmt.Sprintf("%s: a quote before the value of %s is not closed, and is taken for a part of it", s.line, s.name))
	}
	if quote == '\'' {
		return raw, ""
	}
	if quote == '"' {
		raw = e.newlines(raw)
	}
	raw, command := unescapeCommands(unescape(raw))
	value, doubted := e.variables(raw)
	switch {
	case command:
		return value, "holds a shell command, which is not run, on " + s.line
	case doubted != "":
		return value, "holds " + doubted + ", which is not known, on " + s.line
	}
	return value, ""
}

// newlines resolves what stands for line ends in double quotes: nothing, as long as no variable asks for it.
func (e *environ) newlines(raw string) string {
	const mode = "DOTENV_LINEBREAK_MODE"
	if e.file[mode] == "legacy" || e.values[mode] == "legacy" {
		return strings.NewReplacer(`\n`, "\n", `\r`, "\r").Replace(raw)
	}
	return strings.NewReplacer(`\n`, `\\n`, `\r`, `\\r`).Replace(raw)
}

// unescape removes the backslashes that stand before anything but a $.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && s[i+1] != '$' {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// unescapeCommands removes the backslashes that stand before $(commands), and reports whether there is one without.
func unescapeCommands(s string) (text string, command bool) {
	var b strings.Builder
	for i := 0; i < len(s); {
		rest, escaped := strings.CutPrefix(s[i:], `\`)
		n := 0
		if strings.HasPrefix(rest, "$(") {
			n = parenLen(rest[1:])
		}
		switch {
		case n == 0:
			b.WriteByte(s[i])
			i++
			continue
		case escaped:
			i++
		default:
			command = true
		}
		b.WriteString(s[i : i+1+n])
		i += 1 + n
	}
	return b.String(), command
}

// parenLen returns the length of the parentheses at the start of s, which must be balanced and not empty, nor may any within
// them be; else 0.
func parenLen(s string) int {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if s[i-1] == '(' {
				return 0
			}
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// variables replaces $NAME and ${NAME}. It returns the first name of which the value is not known, if there is one.
func (e *environ) variables(raw string) (value, doubted string) {
	var b strings.Builder
	for i := 0; i < len(raw) && b.Len() <= maxValue; {
		escaped := raw[i] == '\\' && i+1 < len(raw) && raw[i+1] == '$'
		if escaped {
			i++
		}
		n := variableLen(raw[i:])
		if escaped && n == 0 {
			b.WriteByte('\\')
		}
		name := strings.Trim(raw[i:i+n], "${}")
		switch {
		case escaped || n == 0 || name == "":
			n = max(n, 1)
			b.WriteString(raw[i : i+n])
		default:
			v, ok := e.file[name]
			if !ok {
				v = e.values[name]
			}
			b.WriteString(v)
			if _, ok := e.doubts[name]; ok && doubted == "" {
				doubted = name
			}
		}
		i += n
	}
	return b.String(), doubted
}

// variableLen returns the length of $NAME or ${NAME} or a lone $ at the start of s; 0 for anything else, a $( too.
func variableLen(s string) int {
	if s[0] != '$' || strings.HasPrefix(s, "$(") {
		return 0
	}
	i := 1
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

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
