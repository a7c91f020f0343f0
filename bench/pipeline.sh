#!/usr/bin/env bash
# What pipelines cost, measured beside what the dry run predicts. On this host, two stages on two ranks
# of one thread: the share of idle time and the memory of activations of every schedule, with and
# without recomputation. On slow links (bench/slownet.sh; needs root): tokens a second of two replicas
# of two stages, with gradients as they are and in one bit, beside four replicas without stages.
# Usage: bench/pipeline.sh GRADWIRE [RATE...]      without a RATE the slow links are left out
#   ROUNDS    turns of each schedule (default: 3)
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,7s/^# //p' "$0" >&2; exit 2; }
gradwire=$(realpath "$1")
shift
cd "$(dirname "$0")/.."
results=$(mktemp)
trap 'rm -f "$results"' EXIT

step() {  # SETTINGS...
  local set=()
  for s in "$@"; do set+=(--set "$s"); done
  rm -rf runs/bench_pipeline
  "$gradwire" launch -n 2 -- bench step bench/pipeline.toml --warmup 2 --steps 8 "${set[@]}"
}

for round in $(seq "${ROUNDS:-3}"); do
  for recompute in false true; do
    for schedule in gpipe 1f1b interleaved zero_bubble; do
      chunks=1
      [ $schedule = interleaved ] && chunks=2
      step "parallel.schedule=\"$schedule\"" "parallel.chunks=$chunks" "parallel.recompute=$recompute" \
        2>/dev/null | sed "s/^/local $schedule $recompute /" >>"$results"
    done
  done
  echo "round $round of ${ROUNDS:-3}" >&2
done

if [ $# -gt 0 ]; then
  trap 'bench/slownet.sh down; rm -f "$results"' EXIT
  bench/slownet.sh up 4 none
  for rate in "$@"; do
    bench/slownet.sh rate "$rate"
    for pipeline in 2 1; do
      for optimizer in adamw onebit_adam; do
        bench/slownet.sh mpirun "$gradwire" bench step bench/pipeline.toml --warmup 3 --steps 6 \
          --set "parallel.pipeline=$pipeline" --set "optim.name=\"$optimizer\"" --set optim.freeze_step=1 \
          --set "parallel.schedule=\"zero_bubble\"" --set parallel.stages=\"even\" \
          --set comm.backend=\"tcp\" --set comm.address=\"10.77.0.1:29400\" 2>/dev/null |
          sed "s/^/$rate $pipeline $optimizer /" >>"$results"
      done
    done
  done
fi

python3 - "$results" <<'PYTHON'
import json, statistics, sys

rows = {}
for line in open(sys.argv[1]):
    *key, text = line.split(" ", 3)
    rows.setdefault(tuple(key), []).append(json.loads(text))

def span(values, scale=1.0, digits=1):
    values = [scale * v for v in values]
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} .. {max(values):.{digits}f})"

print(f"{'schedule':12} {'recompute':9}  {'tokens/s':>24}  {'idle %':>20}  {'predicted %':>20}  "
      "activations MB by rank, measured / predicted")
for (where, schedule, recompute), runs in rows.items():
    if where != "local":
        continue
    last = runs[-1]
    memory = ", ".join(f"{m / 1e6:.1f} / {p / 1e6:.1f}" for m, p in
                       zip(last["activation_bytes"], last["predicted_activation_bytes"]))
    print(f"{schedule:12} {recompute:9}  {span([r['tokens_per_s']['median'] for r in runs]):>24}  "
          f"{span([r['bubble_share'] for r in runs], 100):>20}  "
          f"{span([r['predicted_bubble_share'] for r in runs], 100):>20}  {memory}")
for (where, pipeline, optimizer), runs in rows.items():
    if where == "local":
        continue
    r = runs[-1]
    shape = "2 replicas x 2 stages" if pipeline == "2" else "4 replicas"
    print(f"{where:8} {shape:22} {optimizer:12} {r['tokens_per_s']['median']:9.1f} tokens/s  "
          f"({r['tokens_per_s']['min']:.1f} .. {r['tokens_per_s']['max']:.1f})  "
          f"{r['wire_bytes_per_step'] / 1e6:7.2f} MB sent by rank 0 in a step")
PYTHON
