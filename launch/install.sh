#!/usr/bin/env bash
# Installs what Gradwire needs from the distribution (Debian 12 or a relative), and nothing that is
# there already. Usage: launch/install.sh [build] [test] [corpus] [bench] [fuzz]   (default: build)
set -euo pipefail

build="g++ cmake ninja-build ccache mold pkg-config libopenmpi-dev openmpi-bin libhdf5-dev
  libopenblas-dev libdnnl-dev libboost1.81-dev libsentencepiece-dev libicu-dev libtomlplusplus-dev libcli11-dev
  libfmt-dev libspdlog-dev nlohmann-json3-dev libxxhash-dev libssl-dev"
test="libgtest-dev libgmock-dev libbenchmark-dev clang-format-14 procps python3 dpkg-dev slurmctld slurmd slurm-client munge libpmix2"
corpus="bible-kjv bible-kjv-text"
fuzz="clang-16 libclang-rt-16-dev lld-16"
bench="libbenchmark-dev python3-venv python3-dev python3-numpy python3-matplotlib"

wanted=""
for group in "${@:-build}"; do
  case $group in
    fuzz) wanted+=" $fuzz" ;;
    build) wanted+=" $build" ;;
    test) wanted+=" $test" ;;
    corpus) wanted+=" $corpus" ;;
    bench) wanted+=" $bench" ;;
    *) echo "install.sh: no such group: $group (build, test, corpus, bench, fuzz)" >&2; exit 2 ;;
  esac
done

missing=""
for package in $wanted; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=" $package"
done
[ -n "$missing" ] || exit 0

as_root=""
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "install.sh: needs root or sudo for:$missing" >&2; exit 2; }
  as_root="sudo"
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq </dev/null
# shellcheck disable=SC2086  # a list of words on purpose
$as_root apt-get install -y -qq --no-install-recommends $missing </dev/null >/dev/null
