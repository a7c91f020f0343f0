#!/usr/bin/env bash
# Two hosts without a batch system: two ranks on each, over the network between them. The hosts need
# gradwire, the recipe and its text at the same paths, ssh without a password, and a shared folder
# for the run.
#   examples/mpirun.sh HOST_A HOST_B [RECIPE]
set -euo pipefail

[ $# -ge 2 ] || {
  sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
  exit 2
}
recipe=${3:-examples/lm_kjv.toml}
ranks_per_host=2

# Settings that matter:
#   pml ob1              the transport for plain TCP; the default probes for InfiniBand first
#   mpi_yield_when_idle  a waiting rank leaves its core to the others
#   odls_base_sigkill_timeout   on Ctrl-C, 60 s to commit a checkpoint before mpirun kills
# If hosts have several networks, name the one to use, by interface or subnet:
#   --mca btl_tcp_if_include 10.0.0.0/24 --mca oob_tcp_if_include 10.0.0.0/24
exec mpirun -n $((2 * ranks_per_host)) \
  --host "$1:$ranks_per_host,$2:$ranks_per_host" --bind-to none \
  --mca pml ob1 --mca mpi_yield_when_idle 1 --mca odls_base_sigkill_timeout 60 \
  gradwire train "$recipe"
