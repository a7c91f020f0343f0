#!/usr/bin/env bash
# A slow network on one machine: N "hosts", each a network namespace, joined by a bridge whose links
# are limited to RATE in both directions. Needs root, iproute2 and util-linux; Open MPI for `mpirun`.
#   slownet.sh up N RATE                    RATE as tc takes it (100mbit, 1gbit), or 'none'
#   slownet.sh rate RATE                    changes the links of a running net
#   slownet.sh each PROGRAM ARGS...         one process per host; $HOST_INDEX tells which
#   slownet.sh mpirun PROGRAM ARGS...       one MPI rank per host, over TCP
#   slownet.sh down
# Host i (from 0) has the address 10.77.0.<i+1>; nothing outside the namespaces can reach it.
set -euo pipefail
prefix=${SLOWNET_PREFIX:-gwnet}
subnet=10.77.0
switch=$prefix-switch
state=/run/$prefix.hosts
self=$(readlink -f "$0")

# The queue holds 20 ms at RATE. A burst below one 64 KiB packet would make the kernel cut every
# packet anew.
limit() {  # NAMESPACE DEVICE RATE
  ip netns exec "$1" tc qdisc del dev "$2" root 2>/dev/null || true
  [ "$3" = none ] || ip netns exec "$1" tc qdisc add dev "$2" root tbf rate "$3" burst 128kb latency 20ms
}

limit_all() {  # RATE
  for ((i = 0; i < $(cat "$state"); i++)); do
    limit "$prefix$i" eth0 "$1"
    limit "$switch" "port$i" "$1"
  done
}

up() {  # N RATE
  [ ! -e "$state" ] || down
  echo "$1" >"$state"
  ip netns add "$switch"
  ip -n "$switch" link set lo up
  ip -n "$switch" link add bridge0 type bridge
  ip -n "$switch" link set bridge0 up
  for ((i = 0; i < $1; i++)); do
    ip netns add "$prefix$i"
    ip -n "$prefix$i" link set lo up
    ip link add eth0 netns "$prefix$i" type veth peer name "port$i" netns "$switch"
    ip -n "$switch" link set "port$i" master bridge0
    ip -n "$switch" link set "port$i" up
    ip -n "$prefix$i" addr add "$subnet.$((i + 1))/24" dev eth0
    ip -n "$prefix$i" link set eth0 up
  done
  limit_all "$2"
}

down() {
  for ((i = 0; i < $(cat "$state" 2>/dev/null || echo 0); i++)); do
    ip netns del "$prefix$i" 2>/dev/null || true
  done
  ip netns del "$switch" 2>/dev/null || true
  rm -f "$state"
}

# Every process must end well; the first that does not decides the status.
each() {
  local pids=() status=0
  for ((i = 0; i < $(cat "$state"); i++)); do
    HOST_INDEX=$i ip netns exec "$prefix$i" "$@" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || status=$?; done
  return "$status"
}

# mpirun lives on host 0, where the daemons of the other hosts can reach it; every host has a name of
# its own, or their session folders and shared memory would collide; `agent` stands in for ssh.
run_mpi() {
  local hosts
  hosts=$(seq -s, -f "$subnet.%g" "$(cat "$state")")
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  exec ip netns exec "${prefix}0" unshare --uts sh -c 'hostname "$0"; exec "$@"' "${prefix}0" \
    mpirun --host "$hosts" -n "$(cat "$state")" --bind-to none \
    --mca plm rsh --mca plm_rsh_agent "$self agent" --mca plm_rsh_no_tree_spawn 1 \
    --mca oob_tcp_if_include "$subnet.0/24" --mca pml ob1 --mca btl self,tcp \
    --mca btl_tcp_if_include "$subnet.0/24" --mca mpi_yield_when_idle 1 "$@"
}

agent() {  # HOST COMMAND...
  local i=$((${1##*.} - 1))
  shift
  exec ip netns exec "$prefix$i" unshare --uts sh -c "hostname $prefix$i; $*"
}

case ${1:-} in
  up | agent) "$@" ;;
  rate) limit_all "$2" ;;
  each) shift; each "$@" ;;
  mpirun) shift; run_mpi "$@" ;;
  down) down ;;
  *) sed -n '2,9s/^# //p' "$0" >&2; exit 2 ;;
esac
