#!/usr/bin/env bash
# Installs what the tests need, builds, and runs the whole suite: the release build with CUDA if a
# toolkit is found, then the sanitizer builds with ranks as threads, and the fuzzer.
# Usage: launch/test.sh [--quick]      --quick leaves the sanitizer builds out
set -euo pipefail
cd "$(dirname "$0")/.."

launch/install.sh build test corpus fuzz

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=time_macros
command -v nvcc >/dev/null || { [ -x /usr/local/cuda/bin/nvcc ] && export CUDACXX=/usr/local/cuda/bin/nvcc; } || true

presets="release asan tsan fuzz"
[ "${1:-}" = --quick ] && presets="release"
for preset in $presets; do
  echo "== $preset: configure, build, test"
  options=()
  # Asked for by name, so that a toolkit that does not work is an error and not a build without CUDA.
  if [ "$preset" = release ] && { [ -n "${CUDACXX:-}" ] || command -v nvcc >/dev/null; }; then
    options+=(-DGW_CUDA=ON)
  fi
  cmake --preset "$preset" "${options[@]}" >"build-$preset.log" 2>&1 || { cat "build-$preset.log"; exit 1; }
  rm -f "build-$preset.log"
  cmake --build --preset "$preset"
  ctest --preset "$preset" --parallel "$(nproc)"
done
