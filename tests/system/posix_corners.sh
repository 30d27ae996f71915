#!/usr/bin/env bash
# Descriptor and state corner cases: what a program sees under the interception is what it sees
# without, on both backends, with each optional kernel feature and without it.
# timeout: 600
set -u
here=$(cd "$(dirname "$0")" && pwd)
work=${TMPDIR:-$(mktemp -d)}
python=/usr/bin/python3
user=()
if [ "$(id -u)" = 0 ]; then user=(setpriv --reuid=65534 --regid=65534 --clear-groups); fi
cp "$here"/_posix_{cases,messages}.py "$work" && chmod 755 "$work" "$work"/_posix_*.py || exit 1

passed=0 failed=0
for cases in cases messages; do
  "${user[@]}" timeout 60 $python -B "$work/_posix_$cases.py" >"$work/expected_$cases" 2>&1
done
one() { # backend option...
  local cases own=()
  [ "$1" = stack ] && own=(OWN_STACK=1)
  set -- --backend="$@"
  for cases in cases messages; do
    "${user[@]}" timeout 100 env "${own[@]}" "$TIDEWIRE" run --quiet "$@" -- $python -B "$work/_posix_$cases.py" >"$work/got" 2>&1
    local status=$?
    if [ $status = 0 ] && diff "$work/expected_$cases" "$work/got"; then
      passed=$((passed + 1))
    else
      echo "differs with '$*' (status $status)"
      failed=$((failed + 1))
    fi
  done
}
for backend in kernel stack; do
  one $backend
  one $backend --preload
  for without in sync_wake_up wait_killable pidfd_thread; do
    one $backend --without=$without
  done
done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
