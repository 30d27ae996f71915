#!/usr/bin/env bash
# Usage: check_symbols.sh [BUILD_DIR]     (default: build/release)
# The linked base, wire, core and sim libraries may not reach for the world: prints every undefined
# symbol of a clock, socket, file, thread, lock, random source or printer, and fails if there is one.
set -euo pipefail
case ${1:-} in -h | --help) sed -n '2,4s/^# //p' "$0"; exit 0 ;; esac
build=${1:-build/release}
cd "$(dirname "$0")/.."

# C symbols that pure code may need; everything else that is not C++ is an offence.
allowed_c='memcpy|memmove|memset|memcmp|memchr|bcmp|strlen|abort|__stack_chk_fail|__cxa_pure_virtual'
allowed_c+='|__cxa_atexit|__cxa_guard_(acquire|release|abort)|__dso_handle|__gxx_personality_v0'
allowed_c+='|_Unwind_Resume|__cpu_model|__cpu_indicator_init|__cpu_features2|_GLOBAL_OFFSET_TABLE_'
allowed_c+='|__cxa_(begin|end)_catch|__cxa_rethrow|__cxa_throw_bad_array_new_length|__tls_get_addr'
allowed_c+='|__(u|)(div|mod|mul)ti3|__popcountdi2'
# std::shared_ptr looks at it to choose how to count.
allowed_c+='|__libc_single_threaded'
# Instrumentation of sanitizers and coverage.
allowed_c+='|__(asan|ubsan|sanitizer|sancov|llvm|gcov)_.*'
# C++ symbols that mean a clock, thread, lock, stream, file or random device.
forbidden_cpp='^std::(__1::)?(chrono|thread|this_thread|mutex|timed_mutex|recursive_|shared_|condition_variable'
forbidden_cpp+='|random_device|__future|future|promise|basic_[io]*f?stream|basic_filebuf|ostream|istream'
forbidden_cpp+='|cout|cerr|clog|cin|ios_base|locale|filesystem|this_thread|call_once)'

found=0
archives=()
for name in base wire core sim; do
  file=$build/src/libtidewire_$name.a
  if [ -e "$file" ]; then archives+=("$file"); fi
done
if [ ${#archives[@]} -eq 0 ]; then
  echo "check_symbols: no libraries under $build/src; build first" >&2
  exit 1
fi
defined=$(nm -g --defined-only "${archives[@]}" 2>/dev/null | awk 'NF==3 {print $3}' | sort -u)
for file in "${archives[@]}"; do
  name=$(basename "$file" .a)
  while read -r symbol; do
    plain=$(c++filt "$symbol")
    offence=
    if [ "$plain" = "$symbol" ]; then
      [[ $symbol =~ ^($allowed_c)$ ]] || offence=1
    elif [[ $plain =~ $forbidden_cpp ]]; then
      offence=1
    fi
    if [ -n "$offence" ]; then
      user=$(nm -A -u "$file" 2>/dev/null | awk -v s="$symbol" '$NF==s && !n++ {print $1}' | cut -d: -f2)
      echo "$name: $plain (in $user)"
      found=1
    fi
  done < <(nm -u "$file" 2>/dev/null | awk '$1=="U" || $1=="w" {print $2}' | sort -u |
           comm -23 - <(printf '%s\n' "$defined"))
done
[ "$found" -eq 0 ] || exit 1
echo "symbols hold: ${#archives[@]} libraries know no clock, socket, file, thread or lock"
