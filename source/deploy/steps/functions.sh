# container prints the container of a service of Compose, whether it runs or not.
container() {
	local id
	id=$("$engine" ps --all --quiet --no-trunc --filter "label=com.docker.compose.project=$project" \
		--filter "label=com.docker.compose.service=$1" --filter "label=com.docker.compose.oneoff=False")
	[ -n "$id" ] || fail "The project $project has no container of the service $1. Make the containers: cd $live, then docker compose up --detach, and a minute later docker compose stop"
	[ "$(wc -l <<<"$id")" = 1 ] || fail "The project $project has several containers of the service $1. Keep one: docker compose up --detach --scale $1=1"
	say "$id"
}

# running prints the running containers of a service of Compose.
running() {
	"$engine" ps --quiet --no-trunc --filter "label=com.docker.compose.project=$project" \
		--filter "label=com.docker.compose.service=$1" --filter "label=com.docker.compose.oneoff=False"
}

# in_container runs a program in the container of a service. Standard input goes to it.
in_container() {
	local id
	id=$(container "$1") || return
	shift
	"$engine" exec --interactive "$id" "$@"
}

# container_runs says whether the container of a service runs.
container_runs() {
	local id
	id=$(container "$1") || return
	[ "$("$engine" inspect --format '{{.State.Running}}' "$id")" = true ]
}

# mastodon_stop, mastodon_start and mastodon_runs are about Mastodon's own services, and not about those of its data.
mastodon_stop() {
	local s id
	case $services in
	systemd)
		systemctl stop 'mastodon-*'
		for s in $(mastodon_runs); do # units of another name
			systemctl stop -- "$s"
		done
		;;
	compose)
		for s in "${mastodon_services[@]}"; do
			id=$(container "$s")
			"$engine" stop "$id" >/dev/null
		done
		for s in "${mastodon_idle[@]}"; do
			for id in $(running "$s"); do
				"$engine" stop "$id" >/dev/null
			done
		done
		;;
	*) say "Stop Mastodon as it was started, if it runs." ;;
	esac
}

mastodon_start() {
	local s id
	case $services in
	systemd) systemctl start -- "${mastodon_services[@]}" ;;
	compose)
		for s in "${mastodon_services[@]}"; do
			id=$(container "$s")
			"$engine" start "$id" >/dev/null
		done
		;;
	*) say "Start Mastodon now." ;;
	esac
}

# mastodon_runs prints which services run, and mastodon_down which do not.
mastodon_runs() {
	local s
	for s in "${mastodon_services[@]}"; do
		if service_runs "$s"; then say "$s"; fi
	done
	for s in "${mastodon_idle[@]}"; do
		if [ -n "$(running "$s")" ]; then say "$s"; fi
	done
}

mastodon_down() {
	local s
	for s in "${mastodon_services[@]}"; do
		if ! service_runs "$s"; then say "$s"; fi
	done
}

service_runs() {
	case $services in
	systemd) systemctl is-active --quiet -- "$1" ;;
	compose) container_runs "$1" ;;
	*) return 1 ;;
	esac
}

# tootctl runs Mastodon's command. In a container it needs one that runs.
tootctl() {
	local s
	if [ "$services" != compose ]; then
		as "$mastodon_user" bash -lc 'cd -- "$1" && shift && RAILS_ENV=production exec bin/tootctl "$@"' bash "$live" "$@"
		return
	fi
	for s in "${mastodon_services[@]}"; do
		if container_runs "$s"; then
			in_container "$s" bin/tootctl "$@"
			return
		fi
	done
	fail "None of Mastodon's containers runs."
}
