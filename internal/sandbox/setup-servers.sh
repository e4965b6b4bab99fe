#!/bin/sh
# Installs the Debian packages of further SFTP servers, for `make test-servers`. Where all are there it does nothing.
# Nothing that it installs is started, now or at the next boot: these packages bring no service.
set -eu

missing=
need() { missing="$missing $*"; }
has() { PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1; }

has dropbear && has dropbearconvert || need dropbear-bin
has mysecureshell || need mysecureshell
/usr/bin/python3 -W ignore -c 'import asyncssh' 2>/dev/null || need python3-asyncssh
[ -e /usr/lib/sftp-server ] || need openssh-sftp-server # where dropbear looks for it
has unshare || need util-linux

if [ -z "$missing" ]; then
	exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
	if has sudo && sudo -n true 2>/dev/null; then
		exec sudo -n sh "$0"
	fi
	echo "setup: run this, then try again:  sudo sh $0" >&2
	exit 1
fi
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	trap 'exit 130' INT TERM HUP
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -q -o Acquire::Retries=3 update
# shellcheck disable=SC2086 # a list
apt-get -q -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold \
	install --no-install-recommends $missing
