// Package escape writes texts that come from elsewhere, names above all, so that they can't deceive their reader. Somebody
// hostile may choose the name of a file, a host, a database or a server.
//
//	Name      a name among other words, on a terminal: as it is, or quoted
//	Terminal  a whole message, on a terminal: one line
//	JSON      a line of JSON that may end up on a terminal
//	Markdown  a name in a document's prose: a code span
//	Shell     one word of a command
//
// Each shows what can't be seen as an escape: control characters with their upper half (C1), bytes that are no UTF-8,
// characters that change the order of others, and those without a shape of their own.
package escape

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// blank is printed by the rules of Unicode and yet shows nothing: the pattern of Braille without a dot.
const blank = '\u2800'

// visible reports whether a reader sees r where it stands. Of all spaces only the common one is visible.
func visible(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= ' ' && r < 0x7f
	}
	return unicode.IsPrint(r) && r != blank && r != utf8.RuneError &&
		!unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// Visible reports whether s is UTF-8 of which a reader sees each character.
func Visible(s string) bool {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if !visible(r) && !(r == utf8.RuneError && n > 1) {
			return false
		}
		i += n
	}
	return true
}

// Name returns a name as it is, or quoted as in Go where it could not be read or told from the words around it.
func Name(name string) string {
	if name != "" && name[0] != '"' && name[0] != ' ' && name[len(name)-1] != ' ' && Visible(name) {
		return name
	}
	return quoted(name)
}

// quoted returns s between double quotes, with a backslash before what is not to be taken as it stands.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	each(s, func(r rune, part string) {
		if r == '"' || r == '\\' {
			b.WriteByte('\\')
		}
		b.WriteString(part)
	})
	b.WriteByte('"')
	return b.String()
}

// each calls f with the characters of s, the invisible ones written as escapes. r is -1 for such.
func each(s string, f func(r rune, part string)) {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			f(-1, fmt.Sprintf(`\x%02x`, s[i]))
		case visible(r) || r == utf8.RuneError:
			f(r, s[i:i+n])
		default:
			q := strconv.QuoteToASCII(s[i : i+n])
			if q = q[1 : len(q)-1]; q == s[i:i+n] {
				q = fmt.Sprintf(`\x%02x`, r)
			}
			f(-1, q)
		}
		i += n
	}
}

// MaxMessage bounds what Terminal returns, in bytes.
const MaxMessage = 4 << 10

// Terminal returns a message as one line of text, cut where it is too long. A backslash in the message stays one: the line
// is for people, not to be read back.
func Terminal(message string) string {
	return Line(Cut(message, MaxMessage))
}

// Line is Terminal for lines of data, which may have any length.
func Line(line string) string {
	if Visible(line) {
		return line
	}
	var b strings.Builder
	each(line, func(_ rune, part string) { b.WriteString(part) })
	return b.String()
}

// Cut returns s, or its beginning and its end where it has more than some most bytes, with a word on what is missing.
func Cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	head, tail := most*3/4, len(s)-most/4
	for head > 0 && !utf8.RuneStart(s[head]) {
		head--
	}
	for tail < len(s) && !utf8.RuneStart(s[tail]) {
		tail++
	}
	return fmt.Sprintf("%s … (%d bytes left out) … %s", s[:head], tail-head, s[tail:])
}

// JSON returns a line of valid JSON, the same value, with each invisible character as an escape.
func JSON(line []byte) []byte {
	if Visible(string(line)) {
		return line
	}
	var b []byte
	for _, r := range string(line) {
		switch hi, lo := utf16.EncodeRune(r); {
		case visible(r) || r == utf8.RuneError:
			b = utf8.AppendRune(b, r)
		case hi != utf8.RuneError:
			b = fmt.Appendf(b, `\u%04x\u%04x`, hi, lo)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return b
}

// Markdown returns a name as a code span, in which Markdown gives no character a meaning but the backquote.
func Markdown(name string) string {
	if !strings.Contains(name, "`") {
		return "`" + Name(name) + "`"
	}
	return "`" + strings.ReplaceAll(quoted(name), "`", `\x60`) + "`"
}

// Shell returns s as one word of a command: as it is, between single quotes, or as $'…' where a byte of it can't be seen.
// Bash, zsh, ksh and busybox know the last form, dash does not. s has no NUL, which no word can hold.
func Shell(s string) string {
	switch {
	case s != "" && strings.Trim(s, plain) == "":
		return s
	case Visible(s):
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\'' || r == '\\':
			b.WriteString(`\` + s[i:i+n])
		case visible(r) && r != '!': // which some shells replace before they look at quotes
			b.WriteString(s[i : i+n])
		default:
			for _, c := range []byte(s[i : i+n]) {
				fmt.Fprintf(&b, `\%03o`, c)
			}
		}
		i += n
	}
	b.WriteString("'")
	return b.String()
}

// plain are the characters that no shell gives a meaning, in whatever place of a word.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@%+=,"
