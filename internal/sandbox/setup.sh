#!/bin/sh
# Installs the Debian packages that the tests and the demonstration run. Where
# all are there it does nothing, and asks no network. Nothing that it installs
# is started, now or at the next boot: the tests start servers of their own.
set -eu

missing=
need() { missing="$missing $*"; }
has() { PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1; }
compiles() { has gcc && echo '#include <stdlib.h>' | gcc -E -o /dev/null - 2>/dev/null; }

ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || has postgres || need postgresql
has psql || need postgresql-client
has pgbouncer || need pgbouncer
has redis-server || need redis-server
has redis-cli || need redis-tools
has sshd || need openssh-server
has sftp || need openssh-client
has rclone || need rclone
has proftpd || need proftpd-core
ls /usr/lib/proftpd/mod_sftp.so >/dev/null 2>&1 || need proftpd-mod-crypto
has git || need git
has strace || need strace
has make || need make
compiles || need gcc libc6-dev # the race detector's

if [ -z "$missing" ]; then
	exit 0
fi
if ! has apt-get; then
	echo "setup: install what these Debian packages hold:$missing" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	if has sudo && sudo -n true 2>/dev/null; then
		exec sudo -n sh "$0"
	fi
	echo "setup: these packages are missing:$missing" >&2
	echo "setup: run this, then try again:  sudo sh $0" >&2
	exit 1
fi

# Without a policy, Debian starts each service as it is installed.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	trap 'exit 130' INT TERM HUP
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi
# And makes a database cluster of its own.
clusters=/etc/postgresql-common/createcluster.conf
if [ ! -e "$clusters" ]; then
	mkdir -p "${clusters%/*}"
	echo "create_main_cluster = false # a machine for tests, which make their own" >"$clusters"
fi

new=
for unit in postgresql redis-server pgbouncer ssh proftpd; do
	[ -e "/lib/systemd/system/$unit.service" ] || new="$new $unit"
done

export DEBIAN_FRONTEND=noninteractive
apt-get -q -o Acquire::Retries=3 update
# shellcheck disable=SC2086 # a list
apt-get -q -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold \
	install --no-install-recommends $missing

for unit in $new; do
	if has systemctl && [ -e "/lib/systemd/system/$unit.service" ]; then
		systemctl --quiet disable "$unit" || echo "setup: $unit starts at the next boot" >&2
	fi
done
