#!/usr/bin/env bash
# Usage: same_everywhere.sh [--jobs N]
# Builds tidewire_world_hash (tests/world_hash.cpp) with g++ and clang-19, optimised and for debugging
# (g++'s with the sanitizers, because that build is there anyway), and compares what the four print:
# the hash of the capture of one seeded world. Exit status 77 if clang-19 is not installed.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=$(nproc)
case ${1:-} in
  --jobs) jobs=$2 ;;
  -h | --help) sed -n '2,5s/^# //p' "$0"; exit 0 ;;
esac
command -v clang++-19 >/dev/null || { echo "clang-19 is not installed"; exit 77; }
launcher=()
if command -v ccache >/dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
first=
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for preset in release asan clang clang-debug; do
  cmake --preset "$preset" -DTIDEWIRE_TESTS=ON "${launcher[@]}" >/dev/null
  cmake --build "build/$preset" -j "$jobs" --target tidewire_world_hash >"$log" || { cat "$log"; exit 1; }
  hash=$("build/$preset/tests/tidewire_world_hash")
  printf '%-12s %s\n' "$preset" "$(tr '\n' ' ' <<<"$hash")"
  : "${first:=$hash}"
  [ "$hash" = "$first" ] || { echo "differs from the first"; exit 1; }
done
