#!/usr/bin/env bash
# Runs clang-tidy over the sources, in one version for everybody (.clang-tidy has the checks).
# Usage: launch/tidy.sh BUILD_DIR [FILE...]      or: cmake --build --preset release --target tidy
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:?the build directory, which has compile_commands.json}
shift
place=build/tidy
if ! cmp -s launch/tidy_requirements.txt $place/installed.txt; then
  rm -rf $place
  mkdir -p build
  /usr/bin/python3 -m venv $place
  $place/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r launch/tidy_requirements.txt
  cp launch/tidy_requirements.txt $place/installed.txt
fi
# Kernels of several instruction sets and CUDA sources are compiled with options that clang does not know.
files=("$@")
[ ${#files[@]} -gt 0 ] ||
  mapfile -t files < <(git ls-files core recipe data optim comm models parallel train jobs export launch |
    grep '\.cpp$' | grep -vE '(_cuda|_simd|_avx512bf16)\.cpp$')
printf '%s\0' "${files[@]}" |
  xargs -0 -P "$(nproc)" -n 4 $place/bin/clang-tidy -p "$build" --quiet --extra-arg=-Wno-unknown-warning-option
