# Bring back the files that root writes
#
# Changes the files that are listed here; those that are there are kept. Takes seconds.
#
# **Look at each path: it must be one that you know.** To leave a file out, open `host.sh` and delete its word in each of the four lines that
# begin with `others_`.

# --- check
for file in "${others_files[@]}"; do
	[ -f "$here/$file" ] || fail "$here/$file is not there. Run permafrost restore again: it brings back what is missing."
done
for path in "${others_paths[@]}"; do
	roots_alone "${path%/*}"
	[ ! -L "$path" ] || fail "$path is a link. Remove it, or leave this file out in host.sh."
done
# --- run
for i in "${!others_files[@]}"; do
	to=${others_paths[i]}
	if ! cmp --silent -- "$here/${others_files[i]}" "$to"; then
		if [ -e "$to" ] && [ ! -e "$to.before-$restore_id" ]; then
			cp --no-target-directory --preserve=all -- "$to" "$to.before-$restore_id"
			say "$to was there and differs. It is kept as $to.before-$restore_id."
		fi
		mkdir --parents -- "${to%/*}"
		install --owner=root --group=root --mode=0600 --no-target-directory -- "$here/${others_files[i]}" "$to.restored"
		mv --no-target-directory -- "$to.restored" "$to"
	fi
	chown -- "${others_owners[i]}" "$to"
	chmod -- "${others_modes[i]}" "$to"
done
# --- verify
for i in "${!others_files[@]}"; do
	cmp -- "$here/${others_files[i]}" "${others_paths[i]}"
done
# --- undo
# the files that were there are kept beside the new ones. Their names end in `.before-` and the snapshot's ID.
