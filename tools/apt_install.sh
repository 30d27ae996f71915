#!/usr/bin/env bash
# Usage: apt_install.sh PACKAGE...   (as root)
# Installs Debian packages without a question and without letting any of them start a service.
set -euo pipefail
case ${1:-} in
  '' | -h | --help) sed -n '2,3s/^# //p' "$0"; exit 0 ;;
esac
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 LC_ALL=C
policy=/usr/sbin/policy-rc.d
mark='# temporary: no service starts while tidewire installs packages'

# Package scripts ask $policy whether a service may start. One that is already there is never
# changed: if it would permit, apt runs in a mount namespace of its own where ours covers it.
denies() {
  local answer=0
  "$policy" tidewire-probe start >/dev/null 2>&1 || answer=$?
  [ "$answer" -eq 101 ]
}
cover=()
made_policy=
if [ ! -e "$policy" ]; then
  if (set -C; printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy") 2>/dev/null; then
    chmod 755 "$policy"
    made_policy=1
  fi
elif grep -qxF "$mark" "$policy"; then
  made_policy=1  # left behind by an interrupted run
elif ! denies; then
  ours=$(mktemp)
  printf '#!/bin/sh\nexit 101\n' >"$ours"
  chmod 755 "$ours"
  if unshare --mount mount --bind "$ours" "$policy" 2>/dev/null; then
    cover=(unshare --mount sh -c "mount --bind $ours $policy && exec \"\$@\"" sh)
  else
    echo "note: $policy permits services; packages that bring one may start it" >&2
  fi
fi
restore() {
  if [ -n "$made_policy" ]; then rm -f "$policy"; fi
  if [ -n "${ours:-}" ]; then rm -f "$ours"; fi
}
trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

apt() { "${cover[@]}" apt-get -q -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 "$@"; }
known() {
  local package
  for package in "$@"; do
    apt-cache show --no-all-versions "$package" >/dev/null 2>&1 || return 1
  done
}
lists_fresh() {
  compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null &&
    [ -n "$(find /var/lib/apt/lists -maxdepth 0 -mtime -7)" ]
}
install() { apt install -y --no-install-recommends "$@"; }

updated=
if ! lists_fresh || ! known "$@"; then
  apt update
  updated=1
fi
if ! install "$@"; then
  [ -z "$updated" ] || exit 1
  apt update
  install "$@"
fi
