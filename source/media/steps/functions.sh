# media_list prints the names and sizes of the files in a directory, each with a zero byte behind it.
media_list() { (cd -- "$1" && find . -type f -printf '%s %P\0'); }

# media_mount prints where Mastodon's container has the media.
media_mount() {
	"$engine" inspect --format '{{range .Mounts}}{{println .Destination}}{{end}}' "$1" | grep '/public/system$'
}
