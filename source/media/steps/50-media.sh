# Bring the media back
#
# Changes Mastodon's media: files of the same names are replaced, others stay. Takes as long as copying them all.
#
# The files are copied, so the disk needs room for them twice. If it has not, move them before this step. That takes two directories on one
# disk, and a Mastodon without containers. As root: give `public-system` to Mastodon's user (`chown -R`). Move it to the place that
# `media_root` in `host.sh` names, where nothing may be yet. Then make an empty `public-system`, and run this step.
#
# Mastodon's user writes the files, or with Compose the engine does. If that user may not make the directory, make it, and give it to the user.
# Change no modes: files of a suspended account are closed to all others, and so to nginx.

# --- check
[ -d "$here/public-system" ] || fail "There are no media in $here. Run permafrost restore again: it brings back what is missing."
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
		<("$engine" cp "$id:$within/." - | tar --list --quoting-style=literal --file=- | sed 's|^\./||; s|^|./|; /\/$/d' | sort) | sed -n 1,10p)
else
	missing=$(comm -z -23 <(media_list "$here/public-system" | sort -z) \
		<(as "$mastodon_user" bash -c "$(declare -f media_list); media_list \"\$1\"" bash "$media_root" | sort -z) | tr '\0' '\n' | sed -n 1,10p)
fi
[ -z "$missing" ] || fail "Not all files have arrived whole. Has the disk room? Look with df, then run this step again. The first that are missing, without containers with their sizes:
$missing"
# --- undo
# not possible: nothing keeps the files that were replaced.
