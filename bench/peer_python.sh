#!/usr/bin/env bash
# Makes the virtual environment of the benches' peer in build/peer, with the newest PyTorch pinned by
# hash (bench/peer_requirements.txt; 5.4 GB), if it is not there yet, and prints its interpreter.
# PEER_PYTHON names another interpreter, which is then printed as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -n "${PEER_PYTHON:-}" ]; then
  echo "$PEER_PYTHON"
  exit 0
fi
place=build/peer
if ! cmp -s bench/peer_requirements.txt $place/installed.txt; then
  rm -rf $place
  mkdir -p build
  /usr/bin/python3 -m venv $place
  $place/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
    -r bench/peer_requirements.txt >&2
  cp bench/peer_requirements.txt $place/installed.txt
fi
echo "$PWD/$place/bin/python"
