#!/usr/bin/env bash
# Runs what tests/gpu.sh packed, on a box with a GPU: the CUDA tests, training from a recipe against the
# CPU, the benchmarks beside the box's PyTorch, and a short selection of tests under compute-sanitizer. Goes on after a failure and says at
# the end what failed. Usage: ./run.sh [SECONDS [RESULTS]]: ends by itself within that time (default
# 240); results.jsonl, summary.txt and logs go to the folder RESULTS (default ./results).
# Exit status: 0 all well, 1 something failed, 9 no GPU here.
set -uo pipefail
begin=$SECONDS
here=$(cd "$(dirname "$0")" && pwd)
limit=${1:-240}
results=${2:-results}
mkdir -p "$results"
results=$(cd "$results" && pwd)

if ! compgen -G '/dev/nvidia[0-9]*' >/dev/null && [ ! -e /dev/dxg ]; then
  echo "run.sh: no GPU is here"
  exit 9
fi

left() { echo $((limit - (SECONDS - begin))); }

# cuBLAS is the box's own: with its CUDA toolkit, or with its PyTorch.
find_cublas() {
  local folder
  for folder in /usr/local/cuda/lib64 /usr/local/cuda-*/lib64 \
    "$(dirname "$(dirname "$(readlink -f "$(command -v nvcc)")")")/lib64" \
    $(python3 -c 'import site, glob
for s in site.getsitepackages(): print(*glob.glob(s + "/nvidia/*/lib"))' 2>/dev/null); do
    if [ -e "$folder/libcublasLt.so.13" ]; then echo "$folder"; return; fi
  done
}
cublas=$(find_cublas)
if [ -z "$cublas" ]; then
  echo "run.sh: no libcublasLt.so.13 beside nvcc or in PyTorch's packages"
  exit 1
fi
echo "cuBLAS: $cublas"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null |
  tee "$results/card.txt"
libraries="$here/lib:$cublas${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

failed=""
# step NAME SECONDS COMMAND...: with the packed libraries, logged, within the time that is left.
step() {
  local name=$1 most=$2
  shift 2
  if [ "$(left)" -lt "$most" ]; then most=$(left); fi
  if [ "$most" -lt 5 ]; then echo "-- $name: no time left"; failed+=" $name(no-time)"; return; fi
  local start=$SECONDS status=0
  timeout -k 5 "$most" "$@" >"$results/$name.log" 2>&1 || status=$?
  echo "-- $name: status $status after $((SECONDS - start)) s"
  [ "$status" -eq 0 ] || failed+=" $name($status)"
}
ours() { step "$1" "$2" env LD_LIBRARY_PATH="$libraries" "${@:3}"; }

ours models_test 60 "$here/bin/cuda_models_test" --gtest_brief=1
ours core_test 100 "$here/bin/cuda_test" --gtest_brief=1
ours comm_test 40 "$here/bin/cuda_comm_test" --gtest_brief=1
ours train 90 python3 "$here/train_check.py" "$here/bin/gradwire" "$results"
ours bench 60 "$here/bin/cuda_bench" 45
step peer 150 python3 "$here/peer_cuda.py" 110
if sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null); then
  ours memcheck 40 "$sanitizer" --tool memcheck --error-exitcode 1 "$here/bin/cuda_models_test" \
    --gtest_brief=1 --gtest_filter='*Recomputing*'
  ours racecheck 60 "$sanitizer" --tool racecheck --error-exitcode 1 "$here/bin/cuda_test" \
    --gtest_brief=1 --gtest_filter='List/CudaOpCases.RepeatBitForBit/*'
fi

grep -h '^{' "$results"/train.log "$results"/bench.log "$results"/peer.log >"$results/results.jsonl" 2>/dev/null
{
  cat "$results/card.txt" 2>/dev/null
  grep -hE '^(OK|BAD) ' "$results"/train.log
  grep -hoE '^\[  (FAILED|PASSED)  \] [^, ]*' "$results"/*_test.log | sort -u | head -60
  python3 - "$results/results.jsonl" <<'PYTHON'
import json, sys

rows, order = {}, []
for line in open(sys.argv[1]):
    r = json.loads(line)
    if r["case"] not in rows:
        rows[r["case"]] = {}
        order.append(r["case"])
    rows[r["case"]][r["program"]] = r
print(f"{'case':36} {'gradwire':>12} {'torch':>12} {'ratio':>6}  unit")
for case in order:
    by = rows[case]
    any_row = next(iter(by.values()))
    unit = next((u for u in ("tokens_per_s", "GFLOP_per_s", "GB_per_s") if u in any_row), None)
    values = [by.get(p, {}).get(unit) for p in ("gradwire", "torch")]
    shown = [f"{v:12.1f}" if v is not None else f"{'-':>12}" for v in values]
    ratio = f"{values[0] / values[1]:6.2f}" if None not in values else f"{'-':>6}"
    print(f"{case:36} {shown[0]} {shown[1]} {ratio}  {unit}")
PYTHON
  if [ -n "$failed" ]; then echo "failed:$failed"; else echo "all well"; fi
} 2>&1 | tee "$results/summary.txt"
[ -z "$failed" ]
