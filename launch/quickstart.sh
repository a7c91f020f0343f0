#!/usr/bin/env bash
# From a fresh Debian 12 machine to a trained language model: installs what is missing, builds,
# prepares the King James Bible, and trains examples/lm_kjv.toml on two ranks. Run again, it does
# only what is left to do.
# Usage: launch/quickstart.sh [RANKS]
set -euo pipefail
cd "$(dirname "$0")/.."
ranks=${1:-2}

launch/install.sh build corpus
command -v nvcc >/dev/null || { [ -x /usr/local/cuda/bin/nvcc ] && export CUDACXX=/usr/local/cuda/bin/nvcc; } || true

cmake --preset release -DGW_TESTS=OFF -DGW_BENCH=OFF -B build/quickstart
cmake --build build/quickstart --target gradwire
gradwire=$PWD/build/quickstart/launch/gradwire

launch/prepare_kjv.sh
"$gradwire" prepare examples/lm_kjv.toml

# As root Open MPI wants to be told twice; more ranks than cores are allowed; a stopped job gets ten
# seconds to commit its checkpoint.
[ "$(id -u)" -ne 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_odls_base_sigkill_timeout=10
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_pml=ob1
exec mpirun -n "$ranks" --bind-to none "$gradwire" train examples/lm_kjv.toml
