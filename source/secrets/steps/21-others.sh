# Bring back files outside of Mastodon's directory
#
# **Root writes these.** Look at each path: it must be one that you know. Take out of `host.sh` (others_files and the lines behind it)
# what you don't want.

# --- check
for file in "${others_files[@]}"; do
	[ -f "$here/$file" ] || fail "$here/$file is not there. Restore it: permafrost restore --component secrets"
done
for path in "${others_paths[@]}"; do
	roots_alone "${path%/*}"
	[ ! -L "$path" ] || fail "$path is a link."
done
# --- run
for i in "${!others_files[@]}"; do
	to=${others_paths[i]}
	if ! cmp --silent -- "$here/${others_files[i]}" "$to"; then
		if [ -e "$to" ] && [ ! -e "$to.before-$restore_id" ]; then
			cp --no-target-directory --preserve=all -- "$to" "$to.before-$restore_id"
			say "$to was there and is another. It is kept as $to.before-$restore_id."
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
# What was there before lies beside it, with the end `.before-` and the snapshot's ID.
