#!/bin/bash
# All steps of RESTORE.md, one after the other. It asks before each one, stops where one does not hold, and goes on there when it is
# run again.
#
#   bash restore.sh          asks before each step
#   bash restore.sh --yes    asks nothing
#   bash restore.sh --list   lists the steps, and runs none

set -u
host=HOST
. "$host" || exit 1
mode=ask
case ${1-} in
'') ;;
--yes) mode=yes ;;
--list) mode=list ;;
*)
	echo "usage: bash restore.sh [--yes | --list]" >&2
	exit 2
	;;
esac
if [ "$mode" != list ] && [ "$(id -u)" != 0 ] && [ "$(id -un)" != "$mastodon_user" ]; then
	echo "The steps need root. Run this as root." >&2
	exit 1
fi
if [ "$mode" != list ]; then
	exec 9>"$plan/lock"
	if ! flock --nonblock 9; then
		echo "Another restore.sh is at work here." >&2
		exit 1
	fi
fi
umask 077
marks=$plan/done/$restore_id
ran=
trap 'echo; echo "Stopped. Run this again to go on." >&2; exit 130' INT

# step runs one step, which comes on standard input.
step() {
	local number=$1 name=$2 title=$3 text state=
	text=$(cat)
	[ ! -e "$marks/$name" ] || state=' (done)'
	if [ "$mode" = list ] || [ -n "$state" ]; then
		echo "$number. $title$state"
		return
	fi
	echo
	echo "== $number. $title"
	if [ "$mode" = ask ]; then
		ask "$text"
	fi
	ran=yes
	if ! bash -c "$text" </dev/null 9>&-; then
		echo
		echo "Step $number does not hold. Mend what the lines above say, then run this again: it goes on here." >&2
		exit 1
	fi
}

# ask asks whether to run a step.
ask() {
	local answer
	if ! { : </dev/tty; } 2>/dev/null; then
		echo "There is no terminal to ask on. Run it with --yes to be asked nothing." >&2
		exit 1
	fi
	while true; do
		read -r -p 'Run this step? [y]es, [s]how it, [q]uit: ' answer </dev/tty || exit 1
		case $answer in
		y | yes) return ;;
		s | show) printf '%s\n' "$1" ;;
		q | quit) echo "Run this again to go on here." && exit 1 ;;
		esac
	done
}

end() {
	[ "$mode" = list ] && return
	echo
	if [ -z "$ran" ]; then
		echo "Every step was done before, and nothing was done now. To do them all again: rm -r $marks"
		return
	fi
	echo "All steps hold. Now look at the instance yourself: RESTORE.md ends with what to look at."
}
