#!/usr/bin/env bash
# A real Slurm of one node on this machine, for tests: `node.sh start DIR` sets it up with all its files in DIR,
# `node.sh stop DIR` takes it down, `node.sh kill-node DIR` and `node.sh start-node DIR` lose and bring back the node's
# daemon. `SLURM_CONF=DIR/slurm.conf` leads Slurm's commands to it. Needs root and Debian's slurm-wlm and munge.
set -euo pipefail
verb=$1
dir=$(realpath -m "$2")
conf=$dir/slurm.conf

wait_for() { # what, command...
    local what=$1
    shift
    for _ in $(seq 100); do
        if "$@" > /dev/null 2>&1; then return 0; fi
        sleep 0.2
    done
    echo "$what did not come up within 20 s; see $dir" >&2
    return 1
}

node_is_up() { SLURM_CONF=$conf sinfo --noheader --format=%t | grep -qE '^(idle|mix|alloc)'; }

end() { # pid file, signal
    if [ -e "$1" ]; then kill "-$2" "$(cat "$1")" 2> /dev/null || true; fi
}

start_node() { slurmd -f "$conf"; wait_for "the node" node_is_up; }

case $verb in
start)
    mkdir -p "$dir/state" "$dir/spool" "$dir/munge"
    chmod 700 "$dir/munge"
    head -c 1024 /dev/urandom > "$dir/munge/key"
    chmod 400 "$dir/munge/key"
    munged --force --key-file="$dir/munge/key" --socket="$dir/munge/socket" --pid-file="$dir/munge/pid" \
        --log-file="$dir/munge/log" --seed-file="$dir/munge/seed"
    # Ports of its own, so that two such clusters can stand beside each other.
    port=$((20000 + $$ % 20000))
    cat > "$conf" << CONF
ClusterName=querist
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
SlurmdTimeout=10
KillWait=5
MinJobAge=300
SchedulerParameters=sched_interval=1,batch_sched_delay=1
NodeName=$(hostname) NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=4000 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
    slurmctld -f "$conf"
    wait_for "slurmctld" env SLURM_CONF="$conf" sinfo
    start_node
    ;;
start-node) start_node ;;
kill-node)
    end "$dir/slurmd.pid" KILL
    ;;
stop)
    SLURM_CONF=$conf scancel --user=root 2> /dev/null || true
    sleep 1
    end "$dir/slurmd.pid" TERM
    end "$dir/slurmctld.pid" TERM
    end "$dir/munge/pid" TERM
    ;;
*)
    echo "usage: node.sh start|stop|kill-node|start-node DIR" >&2
    exit 2
    ;;
esac
