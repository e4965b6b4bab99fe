# Bring the settings back
#
# Without exactly these keys logins, push subscriptions and encrypted columns are lost. Never make new ones. Mastodon's user writes
# them into Mastodon's directory. A file that is there already is kept aside.
#
# Where PostgreSQL, Redis or paths are elsewhere on this host, change the settings after this step, and `host.sh` with them.

# --- check
for file in "${settings_files[@]}"; do
	[ -f "$here/$file" ] || fail "$here/$file is not there. Restore it: permafrost restore --component secrets"
done
# --- run
for i in "${!settings_files[@]}"; do
	put "$mastodon_user" "$here/${settings_files[i]}" "${settings_paths[i]}" "${settings_modes[i]}"
done
# --- verify
for i in "${!settings_files[@]}"; do
	as "$mastodon_user" cmp -- "${settings_paths[i]}" - <"$here/${settings_files[i]}"
done
# --- undo
# What was there before lies beside it, with the end `.before-` and the snapshot's ID.
