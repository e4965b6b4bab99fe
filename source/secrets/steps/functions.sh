# put writes a file with a user's rights. One that is there with another content is kept aside.
put() {
	local user=$1 from=$2 to=$3 mode=$4 aside=$3.before-$restore_id
	as "$user" mkdir --parents -- "${to%/*}"
	if ! as "$user" cmp --silent -- "$to" - <"$from"; then
		if as "$user" test -e "$to" && ! as "$user" test -e "$aside"; then
			as "$user" cp --no-target-directory --preserve=mode -- "$to" "$aside"
			say "$to was there and differs. It is kept as $aside."
			different_names "$user" "$from" "$aside"
		elif as "$user" test -e "$to"; then
			say "$to was changed, and is the snapshot's again. What you had corrected in it, correct once more."
		fi
		as "$user" install --mode=0600 --no-target-directory -- /dev/null "$to.restored"
		as "$user" dd status=none of="$to.restored" <"$from"
		as "$user" mv --no-target-directory -- "$to.restored" "$to"
	fi
	as "$user" chmod -- "$mode" "$to"
}

# different_names prints the names of the variables that two settings files set otherwise, and no value.
different_names() {
	local user=$1 from=$2 aside=$3 names
	names=$(sort <(grep -E '^(export )?[A-Za-z_][A-Za-z0-9_]*=' -- "$from" | sort -u) \
		<(as "$user" cat -- "$aside" | grep -E '^(export )?[A-Za-z_][A-Za-z0-9_]*=' | sort -u) |
		uniq --unique | sed -E 's/^export //; s/=.*//' | sort -u | tr '\n' ' ') || true
	[ -z "$names" ] || say "These differ in it: $names"
}

# roots_alone fails where others than root decide what a directory is. Where files are kept to their owners (/tmp) nobody
# else can put another in the place of root's own.
roots_alone() {
	local dir=$1 mode below=
	while [ -n "$dir" ]; do
		if [ -e "$dir" ] || [ -L "$dir" ]; then
			mode=$(stat --format=%a -- "$dir")
			if [ -L "$dir" ] || [ "$(stat --format=%u -- "$dir")" != 0 ] ||
				{ [ $((8#$mode & 8#22)) != 0 ] && { [ -z "$below" ] || [ $((8#$mode & 8#1000)) = 0 ]; }; }; then
				fail "Others than root could change what $dir is, or it is a link. Copy the file by hand, or leave it out in host.sh."
			fi
			below=yes
		fi
		dir=${dir%/*}
	done
}
