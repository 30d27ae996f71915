#!/usr/bin/env bash
# Usage: ./dev fuzz [--minutes N] [NAME...]
# Runs every fuzz target (or those whose name contains NAME) for N minutes each, as many at once as
# there are cores. Seeds: fuzz/corpus/TARGET; what was learnt: build/fuzz-corpus/TARGET; findings:
# build/fuzz-findings. Exit status 1 if there is a finding.
set -uo pipefail
cd "$(dirname "$0")/.."
minutes=10
names=()
while [ $# -gt 0 ]; do
  case $1 in
    --minutes) minutes=$2; shift 2 ;;
    --minutes=*) minutes=${1#*=}; shift ;;
    -h | --help) sed -n '2,5s/^# //p' "$0"; exit 0 ;;
    -*) echo "fuzz: unknown option '$1'" >&2; exit 2 ;;
    *) names+=("$1"); shift ;;
  esac
done
seconds=$(awk -v m="$minutes" 'BEGIN {printf "%d", m * 60}')
[ "$seconds" -gt 0 ] || { echo "fuzz: --minutes wants a positive number" >&2; exit 2; }

chosen=()
for target in build/fuzz/fuzz/*_fuzz; do
  [ -x "$target" ] || continue
  if [ ${#names[@]} -eq 0 ]; then chosen+=("$target"); continue; fi
  for name in "${names[@]}"; do
    if [[ $(basename "$target") == *"$name"* ]]; then chosen+=("$target"); break; fi
  done
done
[ ${#chosen[@]} -gt 0 ] || { echo "fuzz: no target${names[*]:+ like ${names[*]}}" >&2; exit 2; }

mkdir -p build/fuzz-findings build/fuzz-logs
one() {
  local target=$1 seconds=$2 name learnt seeds=()
  name=$(basename "$target")
  learnt=build/fuzz-corpus/$name
  mkdir -p "$learnt"
  if [ -d "fuzz/corpus/$name" ]; then seeds=("fuzz/corpus/$name"); fi
  if "$target" -max_total_time="$seconds" -timeout=25 -rss_limit_mb=2048 -print_final_stats=1 \
      -artifact_prefix="build/fuzz-findings/$name-" "$learnt" "${seeds[@]}" \
      >"build/fuzz-logs/$name.log" 2>&1 </dev/null; then
    printf 'clean    %s: %s runs\n' "$name" \
      "$(sed -n 's/^stat::number_of_executed_units: *//p' "build/fuzz-logs/$name.log")"
  else
    printf 'FINDING  %s: build/fuzz-logs/%s.log\n' "$name" "$name"
    return 1
  fi
}
export -f one
echo "==> ${#chosen[@]} targets, $minutes minutes each, $(nproc) at once"
printf '%s\0' "${chosen[@]}" | xargs -0 -P "$(nproc)" -I{} bash -c 'one "$1" "$2"' _ {} "$seconds" || {
  echo "fuzz: there are findings in build/fuzz-findings"
  exit 1
}
echo "fuzz: nothing found"
