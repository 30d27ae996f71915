#!/usr/bin/env bash
# Descriptor and state corner cases: what a program sees under the interception (kernel sockets
# behind it) is what it sees without, with each optional kernel feature and without it.
# timeout: 240
set -u
here=$(cd "$(dirname "$0")" && pwd)
run=${POSIX_RUN:-$TIDEWIRE_BUILD/posix_run}
[ -x "$run" ] || { echo "posix_run is not built"; exit 77; }
work=${TMPDIR:-/tmp}
python=/usr/bin/python3
user=()
if [ "$(id -u)" = 0 ]; then user=(setpriv --reuid=65534 --regid=65534 --clear-groups); fi
cp "$here/_posix_cases.py" "$work/cases.py" && cp "$run" "$work/posix_run" --backend=kernel && chmod 755 "$work"/* || exit 1

passed=0 failed=0
"${user[@]}" timeout 60 $python "$work/cases.py" >"$work/expected" 2>&1
# Without copies of descriptors a reset shows as the end of the stream; urgent data needs MSG_OOB.
for without in '' sync_wake_up wait_killable pidfd_thread; do
  "${user[@]}" timeout 60 "$work/posix_run" --backend=kernel ${without:+--without=$without} -- \
    $python "$work/cases.py" >"$work/got" 2>&1
  status=$?
  if [ $status = 0 ] && diff "$work/expected" "$work/got"; then
    passed=$((passed + 1))
  else
    echo "differs without '${without}' (status $status)"
    failed=$((failed + 1))
  fi
done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
