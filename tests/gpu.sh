#!/bin/sh
# Builds with CUDA and runs every test that needs a GPU (label cuda). Fails without a GPU, without a
# CUDA compiler, and where no test ran. Arguments go to ctest.
set -eu
cd "$(dirname "$0")/.."
cmake --preset cuda
cmake --build --preset cuda
ctest --preset cuda "$@"
