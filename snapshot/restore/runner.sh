#!/bin/bash
# All steps of RESTORE.md, one after the other. It asks before each one, stops where one fails, and goes on with that one when it is
# run again.

[ -n "${BASH_VERSION-}" ] || exec bash "$0" "$@"
set -u
host=HOST
steps=(STEPS)

usage() {
	cat <<'END'
Runs the steps of RESTORE.md. Steps that were done before are passed over.

  bash restore.sh             asks before each step
  bash restore.sh --yes       asks nothing
  bash restore.sh --list      lists the steps, and runs none
  bash restore.sh --from 7    runs step 7 and all that follow again. It stops Mastodon before
END
}

mode=ask from=
while [ $# -gt 0 ]; do
	case $1 in
	--yes | --list) mode=${1#--} ;;
	--from)
		from=${2-}
		if ! [[ $from =~ ^[1-9][0-9]{0,3}$ ]] || [ "$from" -gt "${#steps[@]}" ]; then
			echo "--from takes the number of a step: 1 to ${#steps[@]}. bash restore.sh --list shows them." >&2
			exit 2
		fi
		shift
		;;
	--help | -h) usage && exit ;;
	*) usage >&2 && exit 2 ;;
	esac
	shift
done

if [ ! -r "$host" ]; then
	echo "$host can't be read. If the directory of the restored files was moved or copied, bring it to the place that it was restored" \
		"into: all texts in it name that. If you are not root, run this as root." >&2
	exit 1
fi
if ! bash -euc '. "$1"' bash "$host"; then
	echo "$host has a mistake: see the line above. Correct it, then run this again. A line is NAME=VALUE, with no blank around the \"=\"." >&2
	exit 1
fi
. "$host"
if [ "$mode" != list ] && [ "$(id -u)" != 0 ] && [ "$(id -un)" != "$mastodon_user" ]; then
	echo "The steps need root. Run this as root." >&2
	exit 1
fi
if [ "$mode" != list ]; then
	exec 9>"$plan/lock" || exit 1
	if ! flock --nonblock 9; then
		echo "Another restore.sh is at work here. Wait for it, or look for its terminal." >&2
		exit 1
	fi
fi
umask 077
marks=$plan/done/$restore_id
if [ -n "$from" ] && [ "$mode" != list ]; then
	for name in "${steps[@]:from-1}"; do
		rm -f -- "$marks/$name"
		if [ "$name" = start ]; then rm -f -- "$marks/stop"; fi # Mastodon may run since
	done
fi
ran=
trap 'echo; echo "Stopped. Run this again to go on." >&2; exit 130' INT

# step runs one step, which comes on standard input.
step() {
	local number=$1 name=$2 title=$3 effect=$4 text state=
	text=$(cat)
	[ ! -e "$marks/$name" ] || state=' (done)'
	if [ "$mode" = list ] || [ -n "$state" ]; then
		echo "$number. $title$state"
		return
	fi
	echo
	echo "== Step $number of ${#steps[@]}: $title"
	echo "   $effect"
	if [ "$mode" = ask ]; then
		ask "$text"
	fi
	ran=yes
	if ! bash -c "$text" </dev/null 9>&-; then
		failed "$number"
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
		read -r -p 'Run this step? [y]es, [s]how its commands, [q]uit: ' answer </dev/tty || exit 1
		case $answer in
		y | yes) return ;;
		s | show) printf '%s\n' "$1" ;;
		q | quit) echo "Run this again to go on here." && exit 1 ;;
		*) echo "Type y, s or q, and Enter." ;;
		esac
	done
}

# failed tells how to go on.
failed() {
	{
		echo
		echo "Step $1 failed. The lines above say why; RESTORE.md tells more about the step."
		df --output=avail,target -- "$plan" /tmp "$live" 2>/dev/null | awk '$1 < 1024 && NR > 1 { $1 = ""; print "This disk is full:" $0 }' | sort -u
		echo "Repair that, then run this again: it goes on with step $1. To do earlier steps again too, add --from and the first one's number."
	} >&2
}

end() {
	[ "$mode" = list ] && return
	echo
	if [ -z "$ran" ]; then
		echo "Every step was done before, and nothing was done now. To do them all again: bash restore.sh --from 1"
		return
	fi
	echo "All steps are done. Now read the end of RESTORE.md: it tells what to look at, and what is still to do."
}
