# service_stop and service_start are for units of systemd.
service_stop() { systemctl stop -- "$1"; }
service_start() { systemctl start -- "$1"; }

# redis_of chooses a server by its name: redis, or sidekiq where the queues have a server of their own. Its variables are copied to
# those that begin with r_.
redis_of() {
	local name variable lines=()
	r_name=$1
	for name in mode file settings host port socket tls user password_file db container engine service way replace; do
		variable=$1_$name
		declare -g "r_$name=${!variable}"
	done
	case $r_mode in
	all | without-jobs | skip) ;;
	*) fail "$1_mode is \"$r_mode\", and may be all, without-jobs or skip" ;;
	esac
	case $r_settings in
	/*) ;;
	*) r_settings=$here/$r_settings ;;
	esac
	r_dump=$here/$r_file r_notes=$plan/$r_name.notes r_counts=$plan/$r_name.counts r_auth=$plan/$r_name.masterauth
	mapfile -t lines < <(redis_login)
	[ "${#lines[@]}" = 3 ] || fail "how Mastodon logs in to Redis can't be read from $r_settings"
	r_login=${r_user:-${lines[0]}} r_password=${lines[1]} r_namespace=${lines[2]}
	if [ -n "$r_password_file" ]; then
		r_password=$(head -n 1 -- "$r_password_file")
	fi
	if [ -n "$r_container" ] && [ -z "$r_socket" ]; then
		r_host=127.0.0.1
	fi
}

# redis_login writes the user, the password and the namespace of the settings, a line each.
redis_login() {
	local prefix=REDIS_ url
	local -a words=()
	if have_permafrost; then
		[ "$r_name" = redis ] || words=(--sidekiq)
		"$permafrost" restore-step redis-login --settings "$r_settings" "${words[@]}"
		return
	fi
	[ "$r_name" = redis ] || prefix=SIDEKIQ_REDIS_
	url=$(redis_setting "${prefix}URL")
	if [ -z "$url" ]; then
		printf '%s\n' "$(redis_setting "${prefix}USER")" "$(redis_setting "${prefix}PASSWORD")" "$(redis_setting REDIS_NAMESPACE)"
		return
	fi
	url=${url#*://}
	case $url in
	*@*) url=${url%@*} ;;
	*) url= ;;
	esac
	case $url in
	*:*) words=("${url%%:*}" "${url#*:}") ;;
	*) words=('' "$url") ;; # a lone name is the password
	esac
	printf '%b\n' "${words[0]//%/\\x}" "${words[1]//%/\\x}"
	redis_setting REDIS_NAMESPACE
}

# redis_setting writes the value of a setting, without the quotes around it.
redis_setting() {
	local value
	value=$(sed -n "s/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}$1=//p" "$r_settings" | tail -n 1)
	case $value in
	\'*\' | \"*\") value=${value:1:-1} ;;
	esac
	printf '%s\n' "$value"
}

# redis_cli asks the server.
redis_cli() { redis_cli_reading "$@" </dev/null; }

# redis_cli_reading passes its standard input on. The password is in the environment, and in no argument.
redis_cli_reading() {
	local -a at=(-h "$r_host" -p "$r_port")
	[ -z "$r_socket" ] || at=(-s "$r_socket")
	[ -z "$r_tls" ] || at+=(--tls)
	[ -z "$r_login" ] || at+=(--user "$r_login")
	if [ -n "$r_password" ]; then
		local -x REDISCLI_AUTH=$r_password
	fi
	if [ -n "$r_container" ]; then
		"$r_engine" exec -i -e REDISCLI_AUTH -- "$r_container" sh -c 'for p in valkey-cli redis-cli; do command -v $p >/dev/null && exec $p "$@"; done' sh "${at[@]}" "$@"
	elif command -v valkey-cli >/dev/null; then
		valkey-cli "${at[@]}" "$@"
	else
		redis-cli "${at[@]}" "$@"
	fi
}

# redis_do sends a command that answers OK. With -x its last word comes on standard input.
redis_do() {
	local answer
	answer=$(redis_cli_reading "$@" 2>&1) || true
	[ "$answer" = OK ] || fail "the server refuses $*: $answer"
}

# redis_look reads INFO, and redis_info writes a field of what was read last.
redis_look() { r_info=$(redis_cli INFO | tr -d '\r'); }
redis_info() { sed -n "s/^$1://p" <<<"$r_info"; }

# redis_answers waits until the server has loaded its data. One that is not there is waited for 30 seconds.
redis_answers() {
	local missed=0 answer
	while [ "$missed" -lt 150 ]; do
		answer=$(redis_cli PING 2>&1) || true
		case $answer in
		*PONG* | *MISCONF* | *MASTERDOWN*) return 0 ;;
		*LOADING*) ;;
		*WRONGPASS* | *NOAUTH* | *NOPERM* | *AUTH\ failed*) fail "the server lets nobody in: $answer. Look at the user and the password in $r_settings, or name others in ${r_name}_user and ${r_name}_password_file." ;;
		*) missed=$((missed + ${1:-1})) ;;
		esac
		sleep 0.2
	done
	return 1
}

# redis_is_here finds the server's process on this host: it tells its number, and must have the socket that answers. Its directory must
# be this host's, and not one of a container that shares the host's network.
redis_is_here() {
	local inode
	r_pid=$(redis_info process_id)
	if ! [[ $r_pid =~ ^[1-9][0-9]*$ ]] || [ ! -d "/proc/$r_pid/fd" ]; then
		return 1
	fi
	if [ "$(stat -L -c %d:%i "/proc/$r_pid/root$r_dir" 2>&1)" != "$(stat -L -c %d:%i "$r_dir" 2>&1)" ]; then
		return 1
	fi
	for inode in $(redis_sockets); do
		if [ -n "$(find "/proc/$r_pid/fd" -lname "socket:\[$inode\]" -print -quit)" ]; then
			return 0
		fi
	done
	return 1
}

# redis_sockets writes the numbers of the sockets of this host that listen at the server's port, or at a path like its socket's.
redis_sockets() {
	if [ -n "$r_socket" ]; then
		NAME=/${r_socket##*/} awk '$6 == "01" && substr($0, length($0) - length(ENVIRON["NAME"]) + 1) == ENVIRON["NAME"] { print $7 }' /proc/net/unix
	else
		cat /proc/net/tcp /proc/net/tcp6 | PORT=$(printf ':%04X' "$r_port") awk '$4 == "0A" && substr($2, length($2) - 4) == ENVIRON["PORT"] { print $10 }'
	fi
}

# redis_ask asks the server all that the steps need, and notes it for a step that is begun again while the server is down.
redis_ask() {
	local name value
	redis_answers 10 || fail "no Redis answers at ${r_socket:-$r_host:$r_port}${r_container:+ in the container $r_container}. Start it (systemctl start redis-server). If it is elsewhere, correct ${r_name}_host and ${r_name}_port in host.sh."
	redis_leave
	redis_look
	r_dir='' r_rdb='' r_aof='' r_aof_dir='' r_aof_name=''
	while read -r name; do
		case $name in
		dir) IFS= read -r r_dir ;;
		dbfilename) IFS= read -r r_rdb ;;
		appendonly) IFS= read -r r_aof ;;
		appenddirname) IFS= read -r r_aof_dir ;; # not before version 7
		appendfilename) IFS= read -r r_aof_name ;;
		esac
	done < <(printf 'CONFIG GET %s\n' dir dbfilename appendonly appenddirname appendfilename | redis_cli_reading 2>/dev/null)
	if [ -z "$r_dir" ] || [ -z "$r_rdb" ] || [ -z "$r_aof" ] || [ -z "$(redis_info role)" ]; then
		fail "the server does not tell its settings: $(redis_cli CONFIG GET dir 2>&1 | head -n 1). Name a user who may ask them in ${r_name}_user and ${r_name}_password_file."
	fi
	for value in "$r_rdb" "${r_aof_dir:-x}" "${r_aof_name:-x}"; do
		[[ $value =~ ^[A-Za-z0-9_][A-Za-z0-9._-]*$ ]] || fail "a file of the server's has the name \"$value\", which no step here takes"
	done
	[ "$(redis_info role)" = master ] || fail "the server is a replica. Say in host.sh where its master is."
	[ "$(redis_info connected_slaves)" = 0 ] || fail "the server has replicas, and one of them could become the master meanwhile. Stop them and their sentinels first."
	redis_find_way
	(umask 077 && declare -p r_dir r_rdb r_aof r_aof_dir r_aof_name r_way r_owner r_service r_image | sed 's/^declare --/declare -g --/' >"$r_notes.new" && mv -- "$r_notes.new" "$r_notes")
}

# redis_find_way finds out how the data come back: as files, where they are on this host or in a container, or by replication.
redis_find_way() {
	r_owner='' r_image=''
	if [ -n "$r_container" ]; then
		r_way=container
		r_image=$("$r_engine" inspect --format '{{.Image}}' "$r_container")
		r_owner=$("$r_engine" exec -- "$r_container" stat -c %u:%g "$r_dir")
		"$r_engine" inspect --format '{{range .Mounts}}{{println .Destination}}{{end}}' "$r_container" | while read -r name; do
			case $r_dir/ in "${name:-none}"/*) echo yes ;; esac
		done | grep yes >/dev/null || fail "the container $r_container has no volume at $r_dir: what it has is lost whenever it is made anew"
	elif [ "$r_way" != replication ] && redis_is_here && r_owner=$(stat -c %U "/proc/$r_pid") && redis_is_a_user; then
		r_way=files
		if [ -z "$r_service" ]; then
			r_service=$(redis_unit <"/proc/$r_pid/cgroup")
			if [ -z "$r_service" ] || [ "$(systemctl show --property MainPID -- "$r_service")" != "MainPID=$r_pid" ]; then
				fail "the server is the process $r_pid, and no unit of systemd has it as its own. Name the unit in ${r_name}_service."
			fi
		fi
	elif [ "$r_way" = files ]; then
		fail "the server at ${r_socket:-$r_host:$r_port} is no process of this host, or it is root's"
	else
		r_way=replication
	fi
}

# redis_is_a_user says whether the server's files may be written with its user's rights. A server of root's would say where root writes.
redis_is_a_user() { [ "$r_owner" != root ] || [ "$(id -u)" != 0 ]; }

# redis_unit finds the unit in a process's control group.
redis_unit() { sed -n 's#^[0-9]*:\(name=systemd\)\{0,1\}:/system\.slice/\(.*/\)\{0,1\}\([A-Za-z0-9@:._\\-]*\.service\)$#\3#p' | head -n 1; }

# redis_recall asks the server, or takes the notes where a step that was interrupted has left it stopped.
redis_recall() {
	local service
	if redis_answers 10; then
		redis_ask
		r_up=yes
	else
		[ -e "$r_notes" ] || fail "no Redis answers, and nothing is noted of it. Start it, and run the step before this one again."
		. "$r_notes"
		service=${r_name}_service # it may have been corrected since
		r_service=${!service:-$r_service} r_up=
	fi
}

# redis_there runs a command where the server's files are, with the rights of its user.
redis_there() {
	if [ "$r_way" = container ]; then
		"$r_engine" run --rm -i --network none --volumes-from "$r_container" --user "$r_owner" --workdir / --entrypoint "$1" -- "$r_image" "${@:2}"
	else
		as "$r_owner" "$@"
	fi
}

# redis_own writes what the server has as an RDB: its own file once it has saved it, or what it sends to a replica.
redis_own() {
	local copy
	if [ "$r_way" = replication ]; then
		copy=$(mktemp "$plan/$r_name-own.XXXXXX")
		redis_fetch "$copy"
		cat -- "$copy"
		rm -- "$copy"
	else
		redis_save
		redis_there cat -- "$r_dir/$r_rdb" </dev/null
	fi
}

# redis_fetch writes to a file what the server sends to a replica.
redis_fetch() {
	local said
	said=$(redis_cli --rdb "$1" 2>&1) || fail "the server does not give its data, which takes a user who may SYNC: $(printf '%s\n' "$said" | tail -n 1)"
}

# redis_save has the server write its own file.
redis_save() {
	local answer
	while true; do
		answer=$(redis_cli SAVE 2>&1) || true
		case $answer in
		OK) return ;;
		*progress*) sleep 0.2 ;;
		*) fail "the server can't save its data: $answer" ;;
		esac
	done
}

# redis_check makes sure that the dump is whole, that this server can read it, and that the server has nothing else to lose.
redis_check() {
	if have_permafrost; then
		redis_own | "$permafrost" restore-step rdb "$r_dump" --onto - ${r_replace:+--replace} >"$r_counts.new"
	else
		redis_check_plainly >"$r_counts.new"
	fi
	mv -- "$r_counts.new" "$r_counts"
}

# redis_check_plainly goes by the server's own tool, which knows no more than the number of keys.
redis_check_plainly() {
	local said keys
	[ "$r_way" != replication ] || fail "permafrost is needed here: the files of this server are out of reach"
	keys=$(redis_cli INFO keyspace | grep -c '^db') || true
	if [ "$keys" != 0 ] && [ -z "$r_replace" ]; then
		fail "the server has keys, and all would be lost: $(redis_cli INFO keyspace | tr -d '\r' | grep '^db' | tr '\n' ' '). Where they may be set ${r_name}_replace=yes in host.sh."
	fi
	redis_stage
	said=$(redis_there sh -c 'for p in valkey-check-rdb redis-check-rdb; do command -v $p >/dev/null && exec $p "$1"; done; echo there is no redis-check-rdb; exit 1' sh "$r_dir/restoring/$r_staged" 2>&1 </dev/null) ||
		fail "this server can't read the dump: $(printf '%s\n' "$said" | sed -n '/ERROR DETECTED/{n;p}'). Nothing is changed."
	printf '%s\n' "$said" | sed -n 's/^\[info\] \([0-9]*\) keys read$/\1/p; s/^\[info\] \([0-9]*\) expires$/\1/p' | paste -s -d ' ' | sed 's/^\([0-9]*\) \([0-9]*\)$/all:keys=\1,expires=\2/'
}

# redis_stage writes the dump beside the server's files, as what the server reads at its start. Nothing that is there changes.
redis_stage() {
	r_staged=$r_rdb
	if [ "$r_aof" = yes ]; then
		r_staged=$r_aof_name${r_aof_dir:+.1.base.rdb}
	fi
	redis_there sh -c 'set -eu; umask 077; cd -- "$1"; rm -rf restoring; mkdir restoring; cat >"restoring/$2"; sync "restoring/$2" 2>/dev/null || true' sh "$r_dir" "$r_staged" <"$r_dump"
	if [ "$r_aof" = yes ] && [ -n "$r_aof_dir" ]; then
		printf 'file %s seq 1 type b\n' "$r_staged" | redis_there sh -c 'umask 077; cat >"$1"' sh "$r_dir/restoring/$r_aof_name.manifest"
	fi
}

# redis_swap puts the files of a stopped server aside, and what is staged in their place.
redis_swap() {
	local place=$r_staged
	if [ "$r_aof" = yes ] && [ -n "$r_aof_dir" ]; then
		place=
	fi
	redis_there sh -c '
		set -eu
		cd -- "$1"
		aside=$(mktemp -d before-restore.XXXXXX)
		for f in "$4" "$5" "$3"; do
			[ -z "$f" ] || [ ! -e "$f" ] || mv -- "$f" "$aside/"
		done
		if [ -n "$2" ]; then mv -- "restoring/$2" "$2" && rmdir restoring; else mv -- restoring "$4"; fi
		rmdir "$aside" 2>/dev/null || true' sh "$r_dir" "$place" "$r_rdb" "$r_aof_dir" "$r_aof_name" </dev/null
}

# redis_tell_aside tells where the server's earlier data are.
redis_tell_aside() {
	local name
	redis_there sh -c 'ls -d "$1"/before-restore.*' sh "$r_dir" 2>/dev/null </dev/null | while read -r name; do
		say "What the server had before is in $name. Remove it once all is well."
	done
}

# redis_put_back puts the files of such a directory back in their place. Those that are there go into a directory restored.XXXXXX.
redis_put_back() {
	[[ $1 =~ ^before-restore\.[A-Za-z0-9]+$ ]] || fail "\"$1\" is no name like before-restore.XXXXXX"
	redis_there test -d "$r_dir/$1" </dev/null || fail "$r_dir/$1 is not there"
	[ -z "$r_up" ] || redis_save
	redis_stop
	redis_there sh -c '
		set -eu
		cd -- "$1"
		aside=$(mktemp -d restored.XXXXXX)
		for f in "$4" "$5" "$3"; do
			[ -z "$f" ] || [ ! -e "$f" ] || mv -- "$f" "$aside/"
		done
		mv -- "$2"/* .
		rmdir "$2"' sh "$r_dir" "$1" "$r_rdb" "$r_aof_dir" "$r_aof_name" </dev/null
	redis_start
}

# redis_stop and redis_start stop and start the server. A stop takes as long as the server needs to save.
redis_stop() {
	if [ "$r_way" = container ]; then
		"$r_engine" stop -t 600 -- "$r_container" >/dev/null
	else
		service_stop "$r_service"
	fi
	if redis_cli PING >/dev/null 2>&1; then
		fail "the server still answers, though $r_service${r_container} was stopped. What else runs it?"
	fi
}

redis_start() {
	if [ "$r_way" = container ]; then
		"$r_engine" start -- "$r_container" >/dev/null
	else
		service_start "$r_service"
	fi
	redis_answers || fail "the server does not start. Its log says why. RESTORE.md tells below this step how to undo it."
}

# redis_replicate makes the server a replica of this dump for a moment.
redis_replicate() {
	local password address port before
	have_permafrost || fail "permafrost is needed here: the files of this server are out of reach"
	[ -z "$r_tls" ] || fail "the server is reached by TLS, and would get its data without it. Restore on its host."
	[ -z "$r_socket" ] || fail "a server that is reached by a socket has its files on this host. Set ${r_name}_way to nothing."
	rm -f -- "$plan/$r_name-own".*
	before=$(mktemp "$plan/$r_name-own.XXXXXX")
	redis_fetch "$before"
	mv -- "$before" "$here/$r_name-before.${before##*.}"
	before=$here/$r_name-before.${before##*.}
	say "What the server has now is in $before. Remove it once all is well."
	(umask 077 && redis_cli CONFIG GET masterauth | sed -n 2p >"$r_auth.new" && mv -- "$r_auth.new" "$r_auth")
	trap redis_leave EXIT
	password=$(head -c 60 /dev/urandom | base64 | tr -cd 'A-Za-z0-9')
	coproc MASTER { exec "$permafrost" restore-step redis-master "$r_dump" --replica "$r_host:$r_port"; }
	printf '%s\n' "$password" >&"${MASTER[1]}"
	read -r -t 60 address port <&"${MASTER[0]}" || fail "the dump can't be served"
	printf %s "$password" | redis_do -x CONFIG SET masterauth
	redis_do REPLICAOF "$address" "$port" </dev/null
	redis_follows || fail "the server does not get its data from $address, port $port. Can its host reach this one there? Its log says more."
	redis_leave
	trap - EXIT
	redis_look
	until [ "$(redis_info aof_rewrite_in_progress)$(redis_info aof_rewrite_scheduled)" = 00 ]; do
		sleep 0.2
		redis_look
	done
	[ "$(redis_info aof_last_bgrewrite_status)" = ok ] || fail "the server can't write its append-only file: its log says why"
	redis_save
}

# redis_follows waits until a replica has its data: an hour at most, and a minute in which nothing comes.
redis_follows() {
	local idle=0 end=$((SECONDS + 3600))
	while [ "$SECONDS" -lt "$end" ] && [ "$idle" -lt 300 ]; do
		redis_look || true
		case $r_info in
		*master_link_status:up*) return 0 ;;
		*master_sync_in_progress:1* | *loading:1*) idle=0 ;;
		*) idle=$((idle + 1)) ;;
		esac
		sleep 0.2
	done
	return 1
}

# redis_leave makes the server a master again where a step has made it a replica, with the masterauth that it had.
redis_leave() {
	[ -e "$r_auth" ] || return 0
	redis_do REPLICAOF NO ONE </dev/null
	head -c -1 -- "$r_auth" | redis_do -x CONFIG SET masterauth
	rm -- "$r_auth"
}

# redis_compare compares the number of keys with the dump's: as many that stay, and not more that expire.
redis_compare() {
	local want have
	if grep -q '^uncounted' "$r_counts"; then
		say "The keys can't be compared: $(sed -n 's/^uncounted //p' "$r_counts")"
		return
	fi
	want=$(redis_lasting <"$r_counts")
	have=$(redis_cli INFO keyspace | tr -d '\r' | redis_lasting "$(head -n 1 -- "$r_counts")")
	if [ "$want" != "$have" ]; then
		fail "the server has other keys than the dump. Keys that never expire, by database: $have; the dump: $want. Does Mastodon run already?"
	fi
	say "Keys that never expire, by database: $want, as in the dump."
}

# redis_lasting writes for each database how many keys it has that never expire. Where its first word begins with "all" that is one sum.
redis_lasting() {
	FIRST=${1-} awk -F '[:=,]' '
		/^(db[0-9]+|all):keys=/ { n[ENVIRON["FIRST"] ~ /^all/ ? "all" : $1] += $3 - $5 }
		END { for (d in n) if (n[d]) print d, n[d] }' | sort | paste -s -d , | sed 's/,/, /g; s/^$/none/'
}

# redis_jobs writes the names of the keys that hold Sidekiq's jobs, and the locks of unique jobs.
redis_jobs() {
	local prefix=${r_namespace:+$r_namespace:} name escaped
	for name in queues schedule retry dead; do
		if [ "$(redis_cli -n "$r_db" EXISTS "$prefix$name")" != 0 ]; then
			printf '%s\n' "$prefix$name"
		fi
	done
	escaped=$(printf %s "$prefix" | sed 's/[][*?\\]/\\&/g')
	for name in 'queue:*' 'uniquejobs:*'; do
		redis_cli -n "$r_db" --scan --pattern "$escaped$name"
	done
}

# redis_drop_jobs removes them.
redis_drop_jobs() {
	local -a keys=()
	redis_jobs | while mapfile -t -n 200 keys && [ "${#keys[@]}" -gt 0 ]; do
		redis_cli -n "$r_db" DEL "${keys[@]}" >/dev/null
	done
	redis_save
}
