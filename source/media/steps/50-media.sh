# Bring the media back
#
# Mastodon's user writes them, with no rights of root's: the user could plant links while this goes on. Where the user may not make
# the directory, make it for the user first. Modes matter: the files of a suspended account are readable by nobody else. Files that are
# there and not in the snapshot stay.

# --- check
[ -d "$here/public-system" ] || fail "There are no media in $here. Restore them: permafrost restore --component media"
# --- run
pack=(tar --create --sparse --acls --xattrs --xattrs-include='user.*' --directory="$here/public-system" --file=-)
if [ "$services" = compose ]; then
	id=$(container "${mastodon_services[0]}")
	within=$(media_mount "$id") || fail "No volume of the container $id is at public/system."
	"${pack[@]}" --numeric-owner --owner="$media_uid" --group="$media_gid" . | "$engine" cp - "$id:$within"
else
	as "$mastodon_user" mkdir --parents -- "$media_root"
	"${pack[@]}" . | as "$mastodon_user" tar --extract --preserve-permissions --acls --xattrs --xattrs-include='user.*' --directory="$media_root" --file=-
fi
# --- verify
if [ "$services" = compose ]; then
	missing=$(comm -23 <(cd "$here/public-system" && find . ! -type d | sort) \
		<("$engine" cp "$id:$within/." - | tar --list --quoting-style=literal --file=- | sed 's|^\./||; s|^|./|; /\/$/d' | sort) | head)
else
	missing=$(comm -z -23 <(media_list "$here/public-system" | sort -z) \
		<(as "$mastodon_user" bash -c "$(declare -f media_list); media_list \"\$1\"" bash "$media_root" | sort -z) | tr '\0' '\n' | head)
fi
[ -z "$missing" ] || fail "These files did not arrive, with these sizes: $missing"
# --- undo
# Files of the same names were replaced, and others stayed. Nothing keeps what was replaced.
