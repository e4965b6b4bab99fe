package way

import (
	"strings"

	"permafrost/internal/escape"
)

// basics are functions for every step.
const basics = `# fail ends a step with a word on why. What comes from a server could otherwise write to the terminal as it likes.
fail() { printf '%s\n' "$*" | cat -v >&2; exit 1; }

# say tells what is going on.
say() { printf '%s\n' "$*" | cat -v; }

# have_permafrost says whether the program is there, for what a shell can't do.
have_permafrost() { [ -n "$permafrost" ] && [ -x "$permafrost" ]; }

# as runs a command as a user, by name or by number. It has a session of its own, so that it can't type into root's terminal.
as() {
	local user=$1
	shift
	case $user in
	"$(id -un)" | "$(id -u)") "$@" ;;
	*[!0-9]*) setsid --wait runuser --user="$user" -- "$@" ;;
	*) setsid --wait setpriv --reuid="$user" --regid="$user" --clear-groups -- "$@" ;;
	esac
}

# mark notes that a step of this snapshot is done: restore.sh passes over it then.
mark() { mkdir -p "$plan/done/${restore_id-}" && : >"$plan/done/${restore_id-}/$1"; }
`

// head is the beginning of host.sh.
const head = `# Where things are on this server. Every step of RESTORE.md reads this file.
# Look at each value, and correct what is different here. A line is NAME=VALUE, with no blank around the "=".
# A value with blanks or other marks in it stands in single quotes: 'a b'.

[ -n "${BASH_VERSION-}" ] || { echo "The steps are written for bash. Type bash first, then paste them again." >&2; exit 1; }

`

// Host returns host.sh: the variables of all parts, those that an administrator may change first, and their functions.
// Here is the directory with the restored files, program the path of permafrost or "" where it is not to be used.
func Host(here, program string, parts []Part) string {
	var b strings.Builder
	b.WriteString(head)
	writeVar(&b, Var{Name: "here", About: "the directory with the restored files", Values: []string{here}})
	writeVar(&b, Var{Name: "permafrost", About: "the program; empty where it is not on this host", Values: []string{program}})
	for i := range parts {
		if len(parts[i].Vars) > 0 {
			b.WriteString("\n# " + parts[i].Name + "\n")
		}
		for _, v := range parts[i].Vars {
			writeVar(&b, v)
		}
	}
	b.WriteString("\n# Nothing below here needs a change.\n\nplan=$here/plan\n\n" + basics)
	written := make(map[string]bool) // code that several parts have in common
	for i := range parts {
		if code := strings.TrimSpace(parts[i].Code); code != "" && !written[code] {
			b.WriteString("\n" + code + "\n")
			written[code] = true
		}
	}
	return b.String()
}

func writeVar(b *strings.Builder, v Var) {
	words := make([]string, len(v.Values))
	for i, value := range v.Values {
		words[i] = escape.Shell(value)
	}
	value := strings.Join(words, " ")
	if v.Array {
		value = "(" + value + ")"
	}
	b.WriteString("# " + escape.Line(v.About) + "\n" + v.Name + "=" + value + "\n")
}

// Block returns a step as commands to paste into a shell, or to give to bash. It ends where something fails, without ending the
// shell that it was pasted into, and its last line of output says that the step is done. Host is the path of host.sh.
func Block(host string, number string, s *Step) string {
	var b strings.Builder
	b.WriteString("( set -euo pipefail; trap 'exit 130' INT; cd /; . " + escape.Shell(host) + "\n")
	for _, part := range []string{s.Check, s.Run, s.Verify} {
		if part != "" {
			b.WriteString(part + "\n")
		}
	}
	b.WriteString("mark " + s.Name + "\n")
	b.WriteString("say " + escape.Shell("Step "+number+" done: "+s.Title+".") + "\n) </dev/null\n") // else it could read what is pasted behind it
	return b.String()
}
