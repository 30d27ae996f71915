#!/usr/bin/env bash
# Usage: ./dev bench [--json FILE | quick [--json FILE] | run | peers | figures [...] | grid [...] | instructions [--update] | NAME...]
#   --json FILE            every row of docs/perf.md as JSON, beside its reference (as root; an hour)
#   quick [--json FILE]    the same in five minutes, with fewer and shorter runs
#   run [...]              programs under `tidewire run`, beside the kernel's sockets
#   peers [...]            the gateway beside slirp4netns and pasta
#   figures [ROW...]       one flow over TAP beside the kernel, or the rows named (figures --help)
#   (nothing)              every benchmark in bench/ but the grid, one after the other
#   grid                   goodput on 216 bad paths in virtual time, against formulas (grid --help)
#   grid --kernel          goodput on 24 bad paths in real time, beside the kernel (as root; hours)
#   fairness --kernel      CUBIC beside the kernel's in one queue, in real time (as root; 10 minutes)
#   fidelity [...]         completion times on described links beside a model of them (fidelity --help)
#   NAME...                only those whose name contains NAME
#   instructions           callgrind instruction and allocation counts against bench/instructions.json
#   instructions --update  write the counts as the new bench/instructions.json
# docs/perf.md holds the figures and what they were measured on.
set -uo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in
  -h | --help) sed -n '2,16s/^# //p' "$0"; exit 0 ;;
  grid)
    shift
    kernel=0
    rest=()
    for word in "$@"; do if [ "$word" = --kernel ]; then kernel=1; else rest+=("$word"); fi; done
    [ "$kernel" = 0 ] || exec python3 tools/grid_kernel.py "${rest[@]}"
    exec build/lto/bench/grid_bench "${rest[@]}"
    ;;
  fairness)
    if [ "${2:-}" = --kernel ]; then shift 2; exec build/lto/bench/fairness_kernel_bench "$@"; fi
    ;;
  --json | --json=*) exec python3 tools/figures.py --all "$@" ;;
  quick) shift; exec python3 tools/figures.py --all --quick "$@" ;;
  fidelity) shift; exec python3 tools/fidelity.py "$@" ;;
  peers) shift; exec python3 tools/figures.py gateway "$@" ;;
  run) shift; exec python3 tools/figures.py --run "$@" ;;
  figures) shift; exec python3 tools/figures.py "$@" ;;
  instructions) shift; exec python3 tools/instructions.py "$@" ;;
esac
ran=0
status=0
for program in build/lto/bench/*_bench bench/*.sh; do
  [ -x "$program" ] || continue
  name=$(basename "$program")
  case $name in grid_* | fairness_kernel_*) continue ;; esac  # these take long, and are asked for by name
  wanted=$(($# == 0))
  for part in "$@"; do
    if [[ $name == *"$part"* ]]; then wanted=1; fi
  done
  [ "$wanted" = 1 ] || continue
  printf '==> %s\n' "$name"
  "$program" </dev/null || status=1
  ran=$((ran + 1))
done
[ "$ran" -gt 0 ] || { echo "bench: nothing is called like that" >&2; exit 2; }
exit $status
