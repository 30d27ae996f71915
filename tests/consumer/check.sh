#!/usr/bin/env bash
# Usage: check.sh BUILD_DIR
# Installs the tree that was built in BUILD_DIR into a temporary place and builds main.cpp against it,
# once by find_package and once by pkg-config.
set -euo pipefail
case ${1:-} in '' | -h | --help) sed -n '2,4s/^# //p' "$0"; exit 0 ;; esac
build=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/installed" >"$work/install.log"
for file in bin/tidewire include/tidewire/core/stack.hpp share/man/man1/tidewire.1; do
  [ -e "$work/installed/$file" ] || { echo "not installed: $file"; exit 1; }
done

# Moved after the install: nothing may point to where it was.
mv "$work/installed" "$work/moved"

cmake -S "$here" -B "$work/by-cmake" -G Ninja -DCMAKE_PREFIX_PATH="$work/moved" >"$work/cmake.log" ||
  { cat "$work/cmake.log"; exit 1; }
cmake --build "$work/by-cmake"
[ "$("$work/by-cmake/consumer")" = 10.0.2.15/24 ]
"$work/by-cmake/own_controller"

pc=$(dirname "$(find "$work/moved" -name tidewire.pc)")
# shellcheck disable=SC2046
g++ "$here/main.cpp" -o "$work/by-pkg-config" \
  $(PKG_CONFIG_PATH=$pc pkg-config --cflags --libs --static tidewire)
[ "$("$work/by-pkg-config")" = 10.0.2.15/24 ]
"$work/moved/bin/tidewire" --version
echo "consumer: builds by find_package and by pkg-config"
