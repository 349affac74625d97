#!/usr/bin/env bash
# RabbitMQ and Redis for development and tests: private to this checkout, on loopback, never the system's own services.
# Each service is taken from the first of: an environment variable that names a reachable one; Docker compose, where an engine
# answers; the Debian packages, started as private processes under .run/. See infra/README.md.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
run="${YARNISH_RUN_DIRECTORY:-$root/.run}"
compose_file="$root/infra/deploy/compose.yaml"
# One name for everything of this checkout: the Erlang node, the compose project.
name="yarnish-$(printf '%s' "$run" | cksum | cut -d' ' -f1)"

say() { printf 'services: %s\n' "$*"; }
fail() { printf 'services: error: %s\n' "$*" >&2; exit 1; }

usage() {
    cat <<'TEXT'
Usage: infra/services.sh VERB
  up                        have RabbitMQ and Redis; writes .run/services.env (Yarnish__RabbitMq, Yarnish__Redis)
  down                      stop what `up` started and remove its data
  status                    say what runs and where; exit code 1 unless both answer
  logs [rabbitmq|redis]     the last lines of their logs
  restart rabbitmq|redis    stop in good order and start again, same port, same data
  kill    rabbitmq|redis    SIGKILL (fault tests)
  start   rabbitmq|redis    start again after kill, same port, same data
  pause|resume rabbitmq|redis   SIGSTOP and SIGCONT: alive, connected and silent (fault tests)
  flush redis               forget every key (fault tests)
  block|unblock rabbitmq    make the broker block publishers, as a memory alarm would (fault tests)
Environment: Yarnish__RabbitMq (amqp URI) and Yarnish__Redis (host:port[,options]) name services to use instead, when they answer.
             YARNISH_RUN_DIRECTORY moves .run; YARNISH_SERVICES_INSTALL=0 forbids apt-get install.
TEXT
}

# ---- small tools -------------------------------------------------------------------------------------------------

alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

port_answers() { timeout 2 bash -c "exec 3<>/dev/tcp/$1/$2" 2>/dev/null; }

# The first frame of a broker's answer to the protocol header is Connection.Start: type 1, channel 0, class 10, method 10.
amqp_answers() {
    timeout 5 bash -c '
        exec 3<>"/dev/tcp/$0/$1" && printf "AMQP\0\0\11\1" >&3 &&
        [ "$(head -c 11 <&3 | od -An -tx1 | tr -d " \n" | cut -c1-6)" = 010000 ]' "$1" "$2" 2>/dev/null
}

redis_answers() {  # host port password
    timeout 5 bash -c '
        exec 3<>"/dev/tcp/$0/$1" || exit 1
        [ -z "$2" ] || { printf "AUTH %s\r\n" "$2" >&3; read -r line <&3; }
        printf "PING\r\n" >&3; read -r line <&3; [ "${line:0:5}" = "+PONG" ]' "$1" "$2" "${3:-}" 2>/dev/null
}

# Below the range of ports that the kernel hands out to outgoing connections, so that a restart finds its port still free.
free_port() {
    local port tries
    for tries in $(seq 1 200); do
        port=$((15000 + (RANDOM * 32768 + RANDOM) % 17000))
        if ! port_answers 127.0.0.1 "$port"; then echo "$port"; return; fi
    done
    fail "no free port between 15000 and 32000 on 127.0.0.1"
}

wait_until() {  # seconds, what, command…
    local deadline=$((SECONDS + $1)) what="$2"; shift 2
    until "$@"; do
        if [ "$SECONDS" -ge "$deadline" ]; then return 1; fi
        sleep 0.2
    done
}

secret() { head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n'; }

get() { [ -f "$run/$1" ] && cat "$run/$1" || true; }
put() { mkdir -p "$(dirname "$run/$1")"; (umask 077; printf '%s\n' "$2" > "$run/$1"); }

# Never print the password of a URI.
masked() { sed -E 's#(://[^:/@]*):[^@]*@#\1:***@#; s#(password=)[^,]*#\1***#I' <<<"$1"; }

# ---- named by the environment ------------------------------------------------------------------------------------

amqp_host_port() {
    local rest="${1#*://}"; rest="${rest%%/*}"; rest="${rest##*@}"
    local host="${rest%%:*}" port=5672
    [[ "$1" == amqps:* ]] && port=5671
    [[ "$rest" == *:* ]] && port="${rest##*:}"
    echo "${host:-localhost} $port"
}

named_rabbitmq_answers() {
    local host port; read -r host port < <(amqp_host_port "$1")
    if [[ "$1" == amqps:* ]]; then port_answers "$host" "$port"; else amqp_answers "$host" "$port"; fi
}

named_redis_answers() {
    local endpoint="${1%%,*}" password host port
    password="$(grep -oiE 'password=[^,]*' <<<"$1" | head -n1 | cut -d= -f2- || true)"
    host="${endpoint%%:*}"; port=6379
    [[ "$endpoint" == *:* ]] && port="${endpoint##*:}"
    if grep -qiE 'ssl=true' <<<"$1"; then port_answers "$host" "$port"; else redis_answers "$host" "$port" "$password"; fi
}

# ---- Docker ------------------------------------------------------------------------------------------------------

docker_answers() { command -v docker >/dev/null && timeout 10 docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; }

compose() {
    YARNISH_RABBITMQ_PORT="$(get rabbitmq/port)" YARNISH_RABBITMQ_PASSWORD="$(get rabbitmq/password)" YARNISH_REDIS_PORT="$(get redis/port)" \
        docker compose -p "$name" -f "$compose_file" "$@"
}

# ---- Debian packages ---------------------------------------------------------------------------------------------

rabbitmq_server() {
    # Not /usr/sbin/rabbitmq-server: that wrapper switches to the system's user and directories.
    if [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]; then echo /usr/lib/rabbitmq/bin/rabbitmq-server; else command -v rabbitmq-server; fi
}

have_programs() { [ -n "$(rabbitmq_server)" ] && command -v redis-server >/dev/null && command -v epmd >/dev/null; }

install_programs() {
    if have_programs; then return; fi
    local missing=() sudo=()
    [ -n "$(rabbitmq_server)" ] || missing+=(rabbitmq-server)
    command -v redis-server >/dev/null || missing+=(redis-server)
    command -v apt-get >/dev/null \
        || fail "${missing[*]} not found, and there is no apt-get to install them. Install them, start Docker, or name running ones by Yarnish__RabbitMq and Yarnish__Redis."
    [ "${YARNISH_SERVICES_INSTALL:-1}" != 0 ] \
        || fail "${missing[*]} not found, and YARNISH_SERVICES_INSTALL=0 forbids installing. Run: apt-get install ${missing[*]}"
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || fail "${missing[*]} not found, and installing needs root. Run: sudo apt-get install ${missing[*]}"
        sudo=(sudo -n)
    fi
    say "installing Debian packages: ${missing[*]} (their system services are not started)"
    mkdir -p "$run"
    # Packages start their service when installed unless this policy forbids it; ours run privately.
    local policy=/usr/sbin/policy-rc.d placed=
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null && "${sudo[@]}" chmod 755 "$policy" && placed=1
    fi
    local done=0
    if "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q >"$run/apt.log" 2>&1 \
        && "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >>"$run/apt.log" 2>&1; then done=1; fi
    [ -z "$placed" ] || "${sudo[@]}" rm -f "$policy"
    if [ "$done" = 0 ] || ! have_programs; then
        tail -n 15 "$run/apt.log" >&2
        fail "could not install ${missing[*]} (whole output: $run/apt.log)."
    fi
}

start_epmd() {
    if alive "$run/rabbitmq/epmd.pid"; then return; fi
    # Our own port mapper: the broker's node would start the machine's shared one and leave it behind.
    setsid epmd -port "$(get rabbitmq/epmd.port)" -address 127.0.0.1 </dev/null >>"$run/rabbitmq/epmd.log" 2>&1 9>&- &
    put rabbitmq/epmd.pid $!
    wait_until 10 epmd port_answers 127.0.0.1 "$(get rabbitmq/epmd.port)" || fail "epmd did not start, see $run/rabbitmq/epmd.log"
}

launch_rabbitmq() {
    local directory="$run/rabbitmq"
    mkdir -p "$directory/home" "$directory/data" "$directory/log"
    [ -f "$directory/home/.erlang.cookie" ] || (umask 077; secret > "$directory/home/.erlang.cookie")
    chmod 400 "$directory/home/.erlang.cookie"
    printf '[].\n' > "$directory/enabled_plugins"
    : > "$directory/rabbitmq-env.conf"
    (umask 077; cat > "$directory/rabbitmq.conf" <<CONF
default_user = yarnish
default_pass = $(get rabbitmq/password)
disk_free_limit.absolute = 100MB
log.file.level = info
CONF
    )
    start_epmd
    env -i PATH="$PATH" LANG=C.UTF-8 HOME="$directory/home" \
        ERL_EPMD_PORT="$(get rabbitmq/epmd.port)" ERL_EPMD_ADDRESS=127.0.0.1 ERL_CRASH_DUMP_SECONDS=0 \
        RABBITMQ_NODENAME="$name@localhost" RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT="$(get rabbitmq/port)" \
        RABBITMQ_DIST_PORT="$(get rabbitmq/dist.port)" RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
        RABBITMQ_MNESIA_BASE="$directory/data" RABBITMQ_LOG_BASE="$directory/log" RABBITMQ_PID_FILE="$directory/beam.pid" \
        RABBITMQ_ENABLED_PLUGINS_FILE="$directory/enabled_plugins" RABBITMQ_CONF_ENV_FILE="$directory/rabbitmq-env.conf" \
        RABBITMQ_CONFIG_FILE="$directory/rabbitmq.conf" \
        setsid "$(rabbitmq_server)" </dev/null >>"$directory/log/console.log" 2>&1 9>&- &
    put rabbitmq/pid $!
    wait_until 120 rabbitmq rabbitmq_started || {
        tail -n 20 "$directory/log/console.log" >&2
        fail "RabbitMQ did not answer on 127.0.0.1:$(get rabbitmq/port) within 120 s (logs: $directory/log)."
    }
    rabbitmq_is_up || { tail -n 20 "$directory/log/console.log" >&2; fail "RabbitMQ ended while starting (logs: $directory/log)."; }
}

rabbitmqctl_ours() {
    if [ "$(get rabbitmq/mode)" = docker ]; then compose exec -T rabbitmq rabbitmqctl -q "$@"; return; fi
    env -i PATH="$PATH" LANG=C.UTF-8 HOME="$run/rabbitmq/home" ERL_EPMD_PORT="$(get rabbitmq/epmd.port)" RABBITMQ_NODENAME="$name@localhost" \
        RABBITMQ_CONF_ENV_FILE="$run/rabbitmq/rabbitmq-env.conf" "$(dirname "$(rabbitmq_server)")/rabbitmqctl" -q "$@"
}

rabbitmq_is_up() { amqp_answers 127.0.0.1 "$(get rabbitmq/port)"; }
rabbitmq_started() { ! alive "$run/rabbitmq/pid" || rabbitmq_is_up; }

launch_redis() {
    local directory="$run/redis"
    mkdir -p "$directory"
    (umask 077; cat > "$directory/redis.conf" <<CONF
bind 127.0.0.1
port $(get redis/port)
dir $directory
dbfilename dump.rdb
save ""
appendonly yes
appendfsync everysec
daemonize no
logfile $directory/redis.log
CONF
    )
    setsid redis-server "$directory/redis.conf" </dev/null >>"$directory/console.log" 2>&1 9>&- &
    put redis/pid $!
    wait_until 30 redis redis_started || true
    redis_is_up || { tail -n 20 "$directory/redis.log" >&2; fail "Redis did not answer on 127.0.0.1:$(get redis/port) (log: $directory/redis.log)."; }
}

redis_is_up() { redis_answers 127.0.0.1 "$(get redis/port)"; }
redis_started() { ! alive "$run/redis/pid" || redis_is_up; }

# Ends a process group that we started as a session of its own; leaves nothing behind.
stop_group() {  # pid file, signal, seconds
    local pid; pid="$(cat "$1" 2>/dev/null || true)"
    [ -n "$pid" ] || return 0
    if kill -0 -- "-$pid" 2>/dev/null; then
        kill "-$2" -- "-$pid" 2>/dev/null || true
        kill -CONT -- "-$pid" 2>/dev/null || true   # one that is paused would not hear
        wait_until "$3" "$1" group_is_gone "$pid" || { kill -KILL -- "-$pid" 2>/dev/null || true; wait_until 10 "$1" group_is_gone "$pid" || true; }
    fi
    rm -f "$1"
}
# A zombie that nobody reaps (a container without init) counts as gone: hence /proc and not kill -0.
group_is_gone() {
    local file line fields
    for file in /proc/[0-9]*/stat; do
        line="$(cat "$file" 2>/dev/null)" || continue
        read -r -a fields <<<"${line##*) }"
        if [ "${fields[2]:-}" = "$1" ] && [ "${fields[0]}" != Z ]; then return 1; fi
    done
}

# ---- the two services --------------------------------------------------------------------------------------------

uri_of() {
    case "$1:$(get "$1/mode")" in
        rabbitmq:named) get rabbitmq/uri ;;
        redis:named) get redis/uri ;;
        rabbitmq:*) echo "amqp://yarnish:$(get rabbitmq/password)@127.0.0.1:$(get rabbitmq/port)" ;;
        redis:*) echo "127.0.0.1:$(get redis/port),abortConnect=false" ;;
    esac
}

is_up() {
    case "$1:$(get "$1/mode")" in
        *:) return 1 ;;
        rabbitmq:named) named_rabbitmq_answers "$(get rabbitmq/uri)" ;;
        redis:named) named_redis_answers "$(get redis/uri)" ;;
        rabbitmq:*) rabbitmq_is_up ;;
        redis:*) redis_is_up ;;
    esac
}

up_one() {  # service, value of its environment variable
    local service="$1" named="$2" mode; mode="$(get "$service/mode")"
    # What we run ourselves stays ours, also when .run/services.env was sourced into the environment.
    if [ -n "$mode" ] && [ "$mode" != named ]; then
        if is_up "$service"; then say "$service: already running ($mode) at $(masked "$(uri_of "$service")")"; return; fi
        say "$service: was started before but does not answer; starting it again"
        end_one "$service" TERM
        start_one "$service"
        say "$service: running again ($mode) at $(masked "$(uri_of "$service")")"
        return
    fi
    if [ -n "$named" ]; then
        if "named_${service}_answers" "$named"; then
            put "$service/mode" named; put "$service/uri" "$named"
            say "$service: using the one that the environment names: $(masked "$named")"
            return
        fi
        say "$service: the environment names $(masked "$named"), which does not answer; starting a private one"
    fi
    rm -rf "${run:?}/$service"
    put "$service/port" "$(free_port)"
    [ "$service" = redis ] || put rabbitmq/password "$(secret)"
    if docker_answers; then
        if compose up -d --wait "$service" >"$run/compose.log" 2>&1; then
            put "$service/mode" docker
            wait_until 60 "$service" is_up "$service" || fail "$service runs in Docker but does not answer; see: infra/services.sh logs $service"
            say "$service: started by Docker compose at $(masked "$(uri_of "$service")")"
            return
        fi
        say "$service: Docker compose could not start it ($(tail -n1 "$run/compose.log")); trying Debian packages"
        compose rm -sfv "$service" >/dev/null 2>&1 || true
    fi
    install_programs
    if [ "$service" = rabbitmq ]; then put rabbitmq/dist.port "$(free_port)"; put rabbitmq/epmd.port "$(free_port)"; fi
    put "$service/mode" private
    start_one "$service"
    say "$service: started privately at $(masked "$(uri_of "$service")")"
}

start_one() {
    case "$(get "$1/mode")" in
        private) if is_up "$1"; then return; fi; "launch_$1" ;;
        docker) compose up -d --wait "$1" >"$run/compose.log" 2>&1 || fail "Docker compose could not start $1, see $run/compose.log" ;;
    esac
}

end_one() {  # service, signal
    case "$(get "$1/mode")" in
        private) stop_group "$run/$1/pid" "$2" 30 ;;
        docker) if [ "$2" = KILL ]; then compose kill "$1"; else compose stop "$1"; fi >"$run/compose.log" 2>&1 || true ;;
    esac
}

signal_one() {  # service, STOP or CONT
    case "$(get "$1/mode")" in
        private) kill "-$2" -- "-$(get "$1/pid")" || fail "$1 does not run" ;;
        docker) if [ "$2" = STOP ]; then compose pause "$1"; else compose unpause "$1"; fi >"$run/compose.log" 2>&1 || fail "Docker compose could not signal $1, see $run/compose.log" ;;
    esac
}

must_be_ours() {
    case "$1" in rabbitmq|redis) ;; *) usage >&2; exit 2 ;; esac
    case "$(get "$1/mode")" in
        '') fail "$1 is not up. Run: infra/services.sh up" ;;
        named) fail "$1 was named by the environment ($(masked "$(get "$1/uri")")): it is not ours to touch." ;;
    esac
}

write_env() {
    (umask 077; cat > "$run/services.env" <<ENV
Yarnish__RabbitMq=$(uri_of rabbitmq)
Yarnish__Redis=$(uri_of redis)
ENV
    )
    say "settings written to $run/services.env"
}

lock() {
    mkdir -p "$run"
    if command -v flock >/dev/null; then
        exec 9>"$run/services.lock"
        flock -w 300 9 || fail "another services.sh works on $run since 5 minutes"
    fi
}

verb="${1:-}"; service="${2:-}"
case "$verb" in
    up)
        lock
        up_one rabbitmq "${Yarnish__RabbitMq:-}"
        up_one redis "${Yarnish__Redis:-}"
        write_env
        ;;
    down)
        lock
        for service in rabbitmq redis; do
            case "$(get "$service/mode")" in
                '') say "$service: nothing to stop" ;;
                named) say "$service: named by the environment, left alone" ;;
                docker) compose rm -sfv "$service" >"$run/compose.log" 2>&1 || true; say "$service: container removed" ;;
                private) end_one "$service" TERM; say "$service: stopped, data removed" ;;
            esac
        done
        stop_group "$run/rabbitmq/epmd.pid" TERM 5
        rm -rf "${run:?}/rabbitmq" "$run/redis" "$run/services.env" "$run/compose.log"
        ;;
    status)
        code=0
        for service in rabbitmq redis; do
            mode="$(get "$service/mode")"
            if [ -z "$mode" ]; then say "$service: not started"; code=1
            elif is_up "$service"; then say "$service: answers ($mode) at $(masked "$(uri_of "$service")")"
            else say "$service: does not answer ($mode) at $(masked "$(uri_of "$service")")"; code=1; fi
        done
        exit $code
        ;;
    logs)
        for one in ${service:-rabbitmq redis}; do
            case "$(get "$one/mode")" in
                docker) compose logs --tail 100 "$one" ;;
                private) for file in "$run/$one"/*.log "$run/$one"/log/*.log; do [ ! -s "$file" ] || { echo "==> $file"; tail -n 100 "$file"; }; done ;;
                named) say "$one: named by the environment, its logs are elsewhere" ;;
                *) say "$one: not started" ;;
            esac
        done
        ;;
    restart) must_be_ours "$service"; lock; end_one "$service" TERM; start_one "$service"; say "$service: restarted" ;;
    kill) must_be_ours "$service"; lock; end_one "$service" KILL; say "$service: killed" ;;
    start) must_be_ours "$service"; lock; start_one "$service"; say "$service: running at $(masked "$(uri_of "$service")")" ;;
    pause) must_be_ours "$service"; lock; signal_one "$service" STOP; say "$service: paused" ;;
    resume) must_be_ours "$service"; lock; signal_one "$service" CONT; say "$service: resumed" ;;
    block|unblock)
        [ "$service" = rabbitmq ] || { usage >&2; exit 2; }
        must_be_ours rabbitmq
        share=0.4; [ "$verb" = unblock ] || share=0
        rabbitmqctl_ours set_vm_memory_high_watermark "$share" || fail "RabbitMQ did not take the memory limit"
        say "rabbitmq: publishers ${verb}ed"
        ;;
    flush)
        [ "$service" = redis ] || { usage >&2; exit 2; }
        must_be_ours redis
        timeout 5 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0"; printf "FLUSHALL\r\n" >&3; read -r line <&3; [ "${line:0:3}" = "+OK" ]' "$(get redis/port)" \
            || fail "Redis did not flush"
        say "redis: flushed"
        ;;
    -h|--help|help) usage ;;
    *) usage >&2; exit 2 ;;
esac
