#!/usr/bin/env bash
# Usage: lint.sh [--jobs N] [--changed] [--no-tidy]
# Every check that needs no running program: format, include rules, style, documents, symbols of the
# core, clang-tidy. --changed: clang-tidy reads only what differs from main.
set -uo pipefail
cd "$(dirname "$0")/.."
jobs=$(nproc)
changed=()
tidy=1
while [ $# -gt 0 ]; do
  case $1 in
    --jobs) jobs=$2; shift 2 ;;
    --changed) changed=(--changed); shift ;;
    --no-tidy) tidy=; shift ;;
    -h | --help) sed -n '2,4s/^# //p' "$0"; exit 0 ;;
    *) echo "lint: unknown argument '$1'" >&2; exit 2 ;;
  esac
done

failed=()
check() {
  local name=$1
  shift
  printf '==> %s\n' "$name"
  "$@" || failed+=("$name")
}

format() {
  git ls-files -co --exclude-standard -z -- '*.cpp' '*.hpp' |
    xargs -0 -r -n 40 -P "$jobs" clang-format-19 --dry-run -Werror
}

# Scripts parse; Python compiles.
scripts() {
  local status=0 file
  while IFS= read -r file; do
    [ -f "$file" ] || continue
    bash -n "$file" || status=1
  done < <(printf 'dev\n.ci/run\n'; git ls-files -co --exclude-standard -- '*.sh')
  while IFS= read -r file; do
    [ -f "$file" ] || continue
    python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])' "$file" || status=1
  done < <(git ls-files -co --exclude-standard -- '*.py')
  return $status
}

build() {
  local launcher=()
  if command -v ccache >/dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
  export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
  mkdir -p build
  cmake --preset release -DTIDEWIRE_TESTS=ON "${launcher[@]}" >build/lint-configure.log 2>&1 &&
    cmake --preset clang -DTIDEWIRE_TESTS=ON "${launcher[@]}" >>build/lint-configure.log 2>&1 ||
    { cat build/lint-configure.log; return 1; }
  local targets=() name known
  known=$(cmake --build build/release --target help)
  for name in base wire core sim; do
    if grep -q "libtidewire_$name.a" <<<"$known"; then targets+=("tidewire_$name"); fi
  done
  NINJA_STATUS='[%f/%t %es] ' cmake --build build/release -j "$jobs" --target "${targets[@]}" \
    >build/lint-build.log 2>&1 || { tail -40 build/lint-build.log; return 1; }
}

check 'format' format
check 'scripts' scripts
check 'include rules' python3 tools/check_includes.py
check 'style' python3 tools/check_style.py
if [ -e docs/requirements.tsv ]; then check 'docs/compliance.md' python3 tools/compliance.py --check; fi
check 'docs/programs.md' python3 tools/programs.py --check
check 'build of the core' build
check 'symbols of the core' bash tools/check_symbols.sh build/release
if [ -n "$tidy" ]; then
  check 'clang-tidy' python3 tools/clang_tidy.py build/clang --jobs "$jobs" "${changed[@]}"
fi

if [ ${#failed[@]} -gt 0 ]; then
  printf '\nlint: %d of the checks failed:\n' "${#failed[@]}"
  printf '  %s\n' "${failed[@]}"
  exit 1
fi
printf '\nlint: everything holds\n'
