#!/usr/bin/env bash
# Training steps over slow links, for real: four hosts (network namespaces, bench/slownet.sh), one rank
# on each, joined at 100 Mbit/s and 1 Gbit/s. Times the same decoder of 25 M parameters in Gradwire
# (gradients as they are in f32 and in bf16, 1-bit Adam in its compressed stage, EControl with the
# top 1 %, PowerSGD of rank 4) and in PyTorch DDP over gloo (as it is, with the bf16 hook, with the
# PowerSGD hook), and prints tokens a second, bytes a step, the ratio to Gradwire's f32 exchange, and the
# step that the cost model predicted beside the measured one. Needs root.
# Usage: bench/slow_network.sh GRADWIRE [RATE...]     (default: 100mbit 1gbit)
#   PEER_PYTHON  the interpreter whose torch is the peer (default: bench/peer_python.sh's)
#   BACKENDS     of Gradwire (default: "mpi tcp")
#   PLOT         an SVG file to draw the speeds into
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,11s/^# //p' "$0" >&2; exit 2; }
gradwire=$(realpath "$1")
shift
cd "$(dirname "$0")/.."
python=$(bench/peer_python.sh)
hosts=4
results=$(mktemp)
trap 'bench/slownet.sh down; rm -f "$results"' EXIT

# Steps that fit into about half a minute if the exchange is large, more if it is small.
steps_of() { case $2 in f32 | none) [ "$1" = 100mbit ] && echo 3 || echo 8 ;; *) echo 8 ;; esac; }

gradwire_run() {  # RATE NAME BACKEND SETTINGS...
  local rate=$1 name=$2 backend=$3
  shift 3
  local set=()
  for s in "$@"; do set+=(--set "$s"); done
  [ "$backend" = mpi ] || set+=(--set "comm.backend=$backend" --set comm.address=10.77.0.1:29400)
  bench/slownet.sh mpirun "$gradwire" bench step bench/slow_network.toml --warmup 3 \
    --steps "$(steps_of "$rate" "$name")" "${set[@]}" 2>/dev/null |
    sed "s/^/$rate gradwire-$backend $name /" | tee -a "$results" >&2
}

torch_run() {  # RATE HOOK
  # shellcheck disable=SC2016  # $HOST_INDEX is each host's
  MASTER_ADDR=10.77.0.1 MASTER_PORT=29500 GLOO_SOCKET_IFNAME=eth0 OMP_NUM_THREADS=1 \
    bench/slownet.sh each sh -c 'PEER_RANK=$HOST_INDEX exec "$@"' sh "$python" bench/peer_torch.py \
    --ranks $hosts --hook "$2" --warmup 3 --steps "$(steps_of "$1" "$2")" --batch 4 --sequence 128 \
    --layers 7 --width 512 --heads 8 --ffn 1408 --vocabulary 4096 2>/dev/null |
    sed "s/^/$1 torch $2 /" | tee -a "$results" >&2
}

bench/slownet.sh up $hosts none
for rate in "${@:-100mbit 1gbit}"; do
  for r in $rate; do
    bench/slownet.sh rate "$r"
    for backend in ${BACKENDS:-mpi tcp}; do
      gradwire_run "$r" f32 "$backend"
      gradwire_run "$r" bf16 "$backend" compress.method=plain compress.codec=bf16
      gradwire_run "$r" onebit "$backend" optim.name=onebit_adam optim.freeze_step=1
      gradwire_run "$r" econtrol-top1 "$backend" compress.method=econtrol compress.codec=topk \
        compress.ratio=0.01
      gradwire_run "$r" powersgd "$backend" compress.method=powersgd compress.rank=4
    done
    for hook in none bf16 powersgd; do torch_run "$r" "$hook"; done
  done
done

table=("$results")
[ -z "${PLOT:-}" ] || table+=(--plot "$PLOT")
/usr/bin/python3 bench/slow_network_table.py "${table[@]}"
