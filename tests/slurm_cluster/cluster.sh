#!/usr/bin/env bash
# A SLURM cluster of our own on this machine, for tests: a controller and nodes n1, n2, each with
# its own network and host name, without accounting.
#
#   cluster.sh up            start it (it must not run already)
#   cluster.sh run CMD ...   run a command on its login node
#   cluster.sh crash NODE    end everything that runs on a node, as a power cut does
#   cluster.sh boot NODE     start a node again
#   cluster.sh down          stop what `up` has started, and only that
#   cluster.sh possible      exit 0 where it can run: root, the programs, network namespaces
#
# State and logs lie in $SLAMS_CLUSTER (default: a directory of this user in the temporary one).
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"

home=${SLAMS_CLUSTER:-${TMPDIR:-/tmp}/slams-cluster-$(id -u)}
prefix=${SLAMS_CLUSTER_PREFIX:-slams}
net=${SLAMS_CLUSTER_NET:-10.91.7}
nodes=2
controller=${prefix}c
programs="slurmctld slurmd sbatch munged mungekey ip unshare setsid"

fail() {
    echo "cluster.sh: $*" >&2
    exit 1
}

possible() {
    [ "$(id -u)" = 0 ] || fail "needs root"
    for program in $programs; do
        command -v "$program" >/dev/null || fail "$program is missing (packages slurm-wlm munge iproute2)"
    done
    ip netns add "${prefix}probe" 2>/dev/null || fail "network namespaces are not allowed here"
    ip netns del "${prefix}probe"
}

# Starts a daemon in the background: start NAME NAMESPACE|- CMD ...; its process id and the time
# it was started at tell it from a later process with the same id.
start() {
    local name=$1 space=$2
    shift 2
    local command=("$@")
    if [ "$space" != - ]; then
        command=(ip netns exec "$space" unshare --uts sh -c 'hostname "$0" && exec "$@"' "$space" "$@")
    fi
    SLURM_CONF="$home/slurm.conf" setsid "${command[@]}" </dev/null >>"$home/log/$name.log" 2>&1 &
    echo "$! $(awk '{print $22}' "/proc/$!/stat") $name" >>"$home/daemons"
}

alive() { [ "$(awk '{print $22}' "/proc/$1/stat" 2>/dev/null)" = "$2" ]; }

namespace() {
    local i
    ip netns add "$1"
    echo "$1" >>"$home/namespaces"
    ip -n "$1" link set lo up
    mkdir -p "/etc/netns/$1"
    {
        echo "127.0.0.1 localhost"
        echo "$net.1 $controller"
        for i in $(seq $nodes); do echo "$net.$((10 + i)) $prefix$i"; done
    } >"/etc/netns/$1/hosts"
}

configuration() {
    cat <<EOF
ClusterName=slams
SlurmctldHost=$controller($net.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# How long a credential holds is also how long a requeued job waits.
AuthInfo=socket=$home/munge/socket,cred_expire=5
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
# The nodes share this machine: what they are said to have is not looked for.
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2,requeue_delay=1
ReturnToService=2
JobRequeue=1
KillWait=10
# An answer that comes late is asked for again a minute later, and a node that is told again to end
# a job ends the attempt that has begun meanwhile: a busy machine needs time to answer.
MessageTimeout=60
MinJobAge=3600
# A node that is silent for so long is lost.
SlurmdTimeout=30
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd.%n.pid
SlurmctldLogFile=$home/log/slurmctld.log
SlurmdLogFile=$home/log/slurmd.%n.log
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool/%n
EOF
    for i in $(seq $nodes); do
        echo "NodeName=$prefix$i NodeAddr=$net.$((10 + i)) CPUs=4 RealMemory=4000 State=UNKNOWN"
    done
    echo "PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP"
}

up() {
    possible
    [ ! -e "$home/daemons" ] || fail "$home is in use; cluster.sh down first"
    rm -rf "$home"
    mkdir -p "$home"/{log,state,munge}
    for i in $(seq $nodes); do mkdir -p "$home/spool/$prefix$i"; done
    chmod 755 "$home" "$home"/*
    : >"$home/daemons"
    : >"$home/namespaces"
    trap 'down >/dev/null 2>&1 || true' ERR
    configuration >"$home/slurm.conf"
    # Without a cgroup to manage, any version will do; to look for one fails in a namespace.
    echo "CgroupPlugin=cgroup/v1" >"$home/cgroup.conf"

    namespace "$controller"
    ip -n "$controller" link add bridge0 type bridge
    ip -n "$controller" addr add "$net.1/24" dev bridge0
    ip -n "$controller" link set bridge0 up
    for i in $(seq $nodes); do
        namespace "$prefix$i"
        ip -n "$controller" link add "port$i" type veth peer name eth0 netns "$prefix$i"
        ip -n "$controller" link set "port$i" master bridge0 up
        ip -n "$prefix$i" addr add "$net.$((10 + i))/24" dev eth0
        ip -n "$prefix$i" link set eth0 up
    done

    mungekey --create --keyfile="$home/munge/key" >/dev/null 2>&1
    chmod 400 "$home/munge/key"
    start munged - munged --foreground --force --key-file="$home/munge/key" \
        --socket="$home/munge/socket" --pid-file="$home/munge/pid" \
        --log-file="$home/log/munged.log" --seed-file="$home/munge/seed"
    for _ in $(seq 100); do [ -S "$home/munge/socket" ] && break || sleep 0.1; done
    start slurmctld "$controller" slurmctld -D -c -f "$home/slurm.conf"
    for i in $(seq $nodes); do boot "$prefix$i"; done
    for _ in $(seq 150); do
        ready=$(run timeout 10 sinfo --noheader --Node --format=%T 2>/dev/null | grep -c '^idle$' || true)
        [ "$ready" = $nodes ] && return
        sleep 0.2
    done
    tail -n 5 "$home"/log/* >&2
    fail "the cluster has not come up"
}

run() {
    SLURM_CONF="$home/slurm.conf" ip netns exec "$controller" \
        unshare --uts sh -c 'hostname "$0" && exec "$@"' "$controller" "$@"
}

boot() { start "slurmd.$1" "$1" slurmd -D -f "$home/slurm.conf"; }

crash() { for pid in $(ip netns pids "$1"); do kill -KILL "$pid" 2>/dev/null || true; done; }

down() {
    [ -e "$home/namespaces" ] || return 0
    if [ -s "$home/daemons" ]; then
        run timeout 10 scancel --user=root 2>/dev/null || true
        while read -r pid started _; do
            alive "$pid" "$started" && kill -TERM "$pid" 2>/dev/null || true
        done <"$home/daemons"
        sleep 1
        while read -r pid started _; do
            alive "$pid" "$started" && kill -KILL "$pid" 2>/dev/null || true
        done <"$home/daemons"
    fi
    while read -r space; do
        crash "$space"
        ip netns del "$space" 2>/dev/null || true
        rm -rf "/etc/netns/$space"
    done <"$home/namespaces"
    rm -f "$home/daemons" "$home/namespaces"
}

case "${1:-}" in
up | down | possible) "$1" ;;
run | crash | boot) "$@" ;;
*) fail "up, down, possible, run CMD, crash NODE or boot NODE" ;;
esac
