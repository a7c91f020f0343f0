#!/usr/bin/env bash
# Gradwire against PyTorch on the same decoder and machine: tokens a second and peak memory, and
# their ratios, for f32 and bf16 with one and two threads and for two ranks of one thread. They take
# turns, so that a machine that gets slower slows all; the medians of the turns are compared. PyTorch
# runs both eagerly and under torch.compile, and the faster of the two is the peer.
# Usage: bench/peer.sh GRADWIRE [STEPS [TURNS]]
#   PEER_PYTHON  the interpreter whose torch is the peer (default: bench/peer_python.sh's)
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,7s/^# //p' "$0" >&2; exit 2; }
gradwire=$(realpath "$1")
cd "$(dirname "$0")/.."
steps=${2:-10}
turns=${3:-3}
python=$(bench/peer_python.sh)

[ "$(id -u)" -ne 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1
# OpenBLAS 0.3.21 does not know processors newer than itself and falls back to SSE kernels on them.
if [ -z "${OPENBLAS_CORETYPE:-}" ] && grep -qw avx512bw /proc/cpuinfo; then
  export OPENBLAS_CORETYPE=SkylakeX
fi

results=$(mktemp)
trap 'rm -f "$results"' EXIT

one_turn() {  # RANKS THREADS PRECISION
  "$python" bench/peer_torch.py --ranks "$1" --threads "$2" --precision "$3" --steps "$steps" |
    sed "s/^/$1 $2 $3 eager /"
  "$python" bench/peer_torch.py --ranks "$1" --threads "$2" --precision "$3" --steps "$steps" --compile |
    sed "s/^/$1 $2 $3 compiled /"
  mpirun -n "$1" --bind-to none "$gradwire" bench step bench/step.toml --steps "$steps" \
    --set batch.micro=$((8 / $1)) --set train.threads="$2" --set precision="$3" |
    sed "s/^/$1 $2 $3 gradwire /"
}

for shape in "1 1 f32" "1 2 f32" "2 1 f32" "1 1 bf16" "1 2 bf16" "2 1 bf16"; do
  for _ in $(seq "$turns"); do
    # shellcheck disable=SC2086
    one_turn $shape | tee -a "$results" >&2
  done
done

"$python" - "$results" <<'PYTHON'
import collections, json, statistics, sys

runs = collections.defaultdict(list)
for line in open(sys.argv[1]):
    ranks, threads, precision, program, text = line.split(" ", 4)
    runs[ranks, threads, precision, program].append(json.loads(text))

def rates(key):
    return [run["tokens_per_s"]["median"] for run in runs[key]]

def median(key, field):
    return statistics.median(run[field] for run in runs[key])

print("PyTorch", runs[next(iter(runs))][0]["version"])
print("ranks threads type | peer     tok/s  gradwire tok/s  ratio  (turns)         | peer MiB  gradwire MiB"
      "  ratio | share of matmul peak")
for shape in dict.fromkeys(key[:3] for key in runs):
    ours = (*shape, "gradwire")
    peer = max(((*shape, p) for p in ("eager", "compiled")), key=lambda k: statistics.median(rates(k)))
    turns = [a / b for a, b in zip(rates(ours), rates(peer))]
    rate = [statistics.median(rates(k)) for k in (peer, ours)]
    rss = [median(k, "peak_rss_bytes") / 2**20 for k in (peer, ours)]
    print(f"{shape[0]:>5} {shape[1]:>7} {shape[2]:>4} | {peer[3]:8} {rate[0]:5.0f} {rate[1]:15.0f} "
          f"{rate[1] / rate[0]:6.2f}  ({min(turns):.2f} to {max(turns):.2f})  | {rss[0]:8.0f} {rss[1]:13.0f} "
          f"{rss[1] / rss[0]:6.2f} | {median(ours, 'share_of_matmul_peak'):.2f}")
PYTHON
