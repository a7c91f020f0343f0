#!/usr/bin/env bash
# Many ranks over TCP on this machine: N processes of a tiny model, every one connected to every other.
# Prints how long they took to meet, the memory and connections that they hold, and the steps done.
# Usage: bench/many_ranks.sh GRADWIRE [N [STEPS]]     (default: 600 ranks, 3 steps)
# A rank takes some MB, and two connections to each other rank; both ends of all of them are here:
# 600 ranks hold 719,000 sockets. On two cores they take about ten minutes.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,6s/^# //p' "$0" >&2; exit 2; }
gradwire=$(realpath "$1")
ranks=${2:-600}
steps=${3:-3}
dir=$(mktemp -d)
job=
trap '[ -z "$job" ] || kill "$job" 2>/dev/null || true; wait; rm -rf "$dir"' EXIT
cd "$dir"

# One sequence a rank; a text of a few thousand short words.
awk 'BEGIN { srand(1); for (i = 0; i < 3000; i++) { line = ""; for (j = 0; j < 12; j++)
  line = line " " substr("abcdefghijklmnopqrstuvwxyz", 1 + int(rand() * 20), 2 + int(rand() * 4)); print line "\n" } }' > text.txt
cat > recipe.toml <<RECIPE
schema = 1
task = "language_model"
[model]
layers = 1
width = 16
heads = 2
ffn_width = 32
[data]
text = ["text.txt"]
cache = "cache"
vocab_size = 300
context = 16
validation_share = 0.05
[batch]
global = $ranks
micro = 1
[schedule]
kind = "constant"
warmup_steps = 0
[train]
steps = $steps
eval_every = 0
log_every = 1
threads = 1
[comm]
timeout_s = 1800
[run]
dir = "run"
RECIPE

available() { awk '/^MemAvailable/ { print $2 }' /proc/meminfo; }
sockets() { awk '/^TCP:/ { print $3 }' /proc/net/sockstat; }
steps_done() { cat run/metrics.jsonl 2>/dev/null | grep -c '"event": *"step"' || true; }
seconds() { echo $(($(date +%s) - begin)); }

memory_before=$(available)
sockets_before=$(sockets)
all=$((2 * ranks * (ranks - 1)))  # both ends of two connections for each pair
begin=$(date +%s)
"$gradwire" launch -n "$ranks" -- train recipe.toml > log 2>&1 &
job=$!
until [ $(($(sockets) - sockets_before)) -ge "$all" ]; do
  kill -0 "$job" || { tail -n 5 log >&2; exit 1; }
  sleep 0.5
done
echo "$ranks ranks joined by $((all / 2)) connections after $(seconds) s"
pss=$(for p in $(pgrep -P "$job"); do cat "/proc/$p/smaps_rollup" 2>/dev/null || true; done | awk '/^Pss:/ { sum += $2 } END { print sum }')
used=$((memory_before - $(available)))
echo "memory of a rank: $((pss / ranks)) KiB of its own, $((used / ranks)) KiB with the kernel's"
until [ "$(steps_done)" -ge 1 ]; do
  kill -0 "$job" || { tail -n 5 log >&2; exit 1; }
  sleep 1
done
echo "first step after $(seconds) s"
wait "$job" || { tail -n 5 log >&2; exit 1; }
job=
echo "$(steps_done) of $steps steps done after $(seconds) s"
grep '"event": *"step"' run/metrics.jsonl |
  sed 's/.*"step":\([0-9]*\),.*"loss":\([0-9.]*\).*"step_s":\([0-9.]*\).*/step \1: loss \2, \3 s/'
