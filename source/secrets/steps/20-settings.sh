# Bring the settings back
#
# Changes the settings in Mastodon's directory; the files that are there are kept. Takes seconds.
#
# The settings (`.env.production`) hold the keys of this instance: logins, two-factor codes and push messages depend on them. Never make new
# ones.
#
# Is PostgreSQL, Redis or a directory at another place on this server? Then correct it after this step, and before the next: in Mastodon's
# settings, and in `host.sh`. If you run this step again, it brings back the snapshot's settings: correct them once more.

# --- check
for file in "${settings_files[@]}"; do
	[ -f "$here/$file" ] || fail "$here/$file is not there. Run permafrost restore again: it brings back what is missing."
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
# the files that were there are kept beside the new ones. Their names end in `.before-` and the snapshot's ID.
