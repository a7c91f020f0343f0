#!/usr/bin/env bash
# What optimizer state and exchange cost a rank in memory, whole and sharded, over two steps of
# bench/step.toml: the high-water mark of rank 0's optimizer and what its exchange holds, as the rows
# of a table.
# Usage: bench/optimizer_memory.sh GRADWIRE [RANKS...]      (default: 2 4)
set -euo pipefail
gradwire=$(realpath "$1")
shift
[ $# -gt 0 ] || set -- 2 4
cd "$(dirname "$0")/.."
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# MB of one kind in the JSON object on standard input.
mb() { sed -E "s/.*\"$1_bytes\":([0-9]+).*/\1/" | awk '{ printf "%.1f", $1 / 1e6 }'; }

measure() { # ranks, sharded, settings...
  local ranks=$1 sharded=$2
  shift 2
  local sets=(--set "batch.global=$ranks" --set batch.micro=1 --set data.context=32
    --set train.steps=10 --set "parallel.shard_optimizer=$sharded")
  for setting in "$@"; do sets+=(--set "$setting"); done
  mpirun -n "$ranks" --bind-to none "$gradwire" bench step bench/step.toml --warmup 1 --steps 1 "${sets[@]}"
}

echo "| ranks | rule | optimizer | sharded | exchange | sharded |"
echo "|---|---|---|---|---|---|"
for ranks in "$@"; do
  for rule in sgd adamw onebit_adam; do
    settings=("optim.name=\"$rule\"")
    if [ "$rule" = onebit_adam ]; then settings+=(optim.freeze_step=1); fi
    whole=$(measure "$ranks" false "${settings[@]}")
    sharded=$(measure "$ranks" true "${settings[@]}")
    echo "| $ranks | \`$rule\` | $(mb optimizer <<<"$whole") | $(mb optimizer <<<"$sharded")" \
      "| $(mb exchange <<<"$whole") | $(mb exchange <<<"$sharded") |"
  done
done
