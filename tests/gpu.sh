#!/usr/bin/env bash
# Tests and benchmarks that need a GPU.
#   tests/gpu.sh [ARGS...]      builds here and runs every test with the label cuda; ARGS go to ctest
#   tests/gpu.sh pack [FILE]    builds here and packs the tests and benchmarks into one archive
#                               (default build/gpu-box.tar.xz) for a box with a GPU and without our
#                               libraries: unpack it there anywhere and start run.sh (tests/gpu/run.sh)
# The first fails without a GPU, without a CUDA compiler, and if no test ran.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" != pack ]; then
  cmake --preset cuda
  cmake --build --preset cuda
  exec ctest --preset cuda "$@"
fi

archive=${2:-build/gpu-box.tar.xz}
programs="launch/gradwire tests/core/cuda/cuda_test tests/models/cuda/cuda_models_test tests/comm/cuda/cuda_comm_test bench/cuda_bench"
# glibc and the driver belong to the box; cuBLAS is too large to carry and comes with CUDA or PyTorch.
theirs='^(ld-linux|libc|libm|libdl|librt|libpthread|libcuda|libcublas|libcublasLt)\.'
most_bytes=$((45 * 1000 * 1000))

cmake --preset cuda
# shellcheck disable=SC2086  # a list of words on purpose
cmake --build --preset cuda --target $(for p in $programs; do basename "$p"; done)

box=$(mktemp -d)
trap 'rm -rf "$box"' EXIT
mkdir "$box/gpu-box" "$box/gpu-box/bin" "$box/gpu-box/lib"
for program in $programs; do
  strip -o "$box/gpu-box/bin/$(basename "$program")" "build/cuda/$program"
  ldd "build/cuda/$program" | awk '$2 == "=>" && $3 ~ /^\// {print $1, $3}'
done | sort -u | while read -r name path; do
  if ! [[ $name =~ $theirs ]]; then strip -o "$box/gpu-box/lib/$name" "$path"; fi
done
cp tests/gpu/{run.sh,train.toml,train_check.py} tests/e2e/manifest.py bench/peer_cuda.py "$box/gpu-box/"
cat docs/*.md >"$box/gpu-box/text.md"  # to train on
tar -C "$box" -c gpu-box | xz -T0 -6 >"$archive"
bytes=$(stat -c %s "$archive")
echo "$archive: $bytes bytes"
[ "$bytes" -le "$most_bytes" ] || { echo "gpu.sh: larger than $most_bytes bytes" >&2; exit 1; }
