#!/bin/sh
# Launches one container and waits for it. Started in a session of its own, so neither the end of the node agent nor Ctrl-C in its terminal reaches it;
# what it learns it writes to files, where this agent or its next incarnation finds it.
#
#   launch.sh RECORD WORK LOGS CGROUP COMMAND [ARGUMENT...]
#
# RECORD.started  "<launcher pid> <its start time> <process pid> <its start time>", once the process runs; times as in /proc/<pid>/stat
# RECORD.exited   "<exit code>", 128 + signal when a signal ended it
# LOGS/stdout and LOGS/stderr are opened for appending, so the agent may shorten them while they are written.
record=$1 work=$2 logs=$3 cgroup=$4
shift 4
exec </dev/null >>"$logs/launcher" 2>&1
cd "$work" || exit 1
umask 022

# A session of its own makes it a process group of its own: signals to the group do not reach this shell.
if [ -n "$cgroup" ]; then
    setsid sh -c 'echo $$ >"$0/cgroup.procs"; exec "$@"' "$cgroup" "$@" >>"$logs/stdout" 2>>"$logs/stderr" &
else
    setsid "$@" >>"$logs/stdout" 2>>"$logs/stderr" &
fi
process=$!

# Appears whole or not at all. On a full disk it is tried again for a minute.
write() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
        printf '%s\n' "$2" >"$record.$1.part" && mv -f "$record.$1.part" "$record.$1" && return
        sleep 5
    done
}

# Ids are used again; together with the start time they are not. The program name in the line ends with the last parenthesis.
start_time() {
    read -r line <"/proc/$1/stat" || return
    set -- ${line##*) }
    echo "${20}"
}

write started "$$ $(start_time $$) $process $(start_time "$process")"
wait "$process"
code=$?
# What the process left behind in its group ends with it.
kill -KILL "-$process" 2>/dev/null
write exited "$code"
exit "$code"
