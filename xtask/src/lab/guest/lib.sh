# What the trials of the guest share. Sourced by run.sh.

passed=0 failed=0
COMPOSED=/root/shop.toml
LOG=/var/tmp/shop.log

# trial NAME COMMAND...: prints its outcome as the suites do.
trial() {
    name=$1 began=$(date +%s)
    shift
    if "$@" >/run/trial.log 2>&1; then
        passed=$((passed + 1))
        echo "test lab::$name ... ok"
    else
        failed=$((failed + 1))
        tail -n 60 /run/trial.log
        echo "test lab::$name ... FAILED"
    fi
    echo "took $(($(date +%s) - began)).0 s lab::$name"
}

# What was counted since the boot.
result() {
    word=ok
    [ "$failed" = 0 ] || word=FAILED
    echo "test result: $word. $passed passed; $failed failed; 0 ignored; 0 measured; 0 filtered out"
}

# within SECONDS COMMAND...: until it succeeds.
within() {
    left=$1
    shift
    until "$@"; do
        left=$((left - 1))
        if [ "$left" -le 0 ]; then
            echo "not within the time: $*"
            return 1
        fi
        sleep 1
    done
}

# A command as the unprivileged user, with its service manager.
as_user() {
    runuser -u lab -- env HOME=/home/lab XDG_RUNTIME_DIR=/run/user/1000 "$@"
}

# connected [PREFIX...]: whether the embedded runtime answers. An emulated host needs more than one try.
connected() {
    "$@" hythe runtimes | grep '^embedded ' | grep -q -w healthy
}

# runs WORKLOAD [PREFIX...]: whether `hythe ps` has it as running.
runs() {
    workload=$1
    shift
    "$@" hythe ps | grep "^$workload " | grep -q -w running
}

# Two components that write down when they start and stop; what depends on the other takes a moment to stop.
composed() {
    cat <<TOML
name = "shop"

[[components]]
name = "db"
image = "localhost/lab:1"
runtime = "embedded"
entrypoint = ["/usr/bin/busybox", "sh", "-c"]
command = ["trap 'echo db stops >>/log; exit 0' TERM; echo db starts >>/log; while :; do busybox sleep 0.2; done"]
env = { PATH = "/usr/bin" }
volumes = ["$1:/log"]
memory = "48m"
cpus = 0.5
pids = 40

[[components]]
name = "web"
image = "localhost/lab:1"
runtime = "embedded"
entrypoint = ["/usr/bin/busybox", "sh", "-c"]
command = ["trap 'busybox sleep 2; echo web stops >>/log; exit 0' TERM; echo web starts >>/log; while :; do busybox sleep 0.2; done"]
env = { PATH = "/usr/bin" }
volumes = ["$1:/log"]
depends_on = ["db"]
TOML
}

# The cgroup of the shop's database has the limits of its component.
has_limits() {
    group=$(grep -l 50331648 "$1"/hythe-*/memory.max | head -n 1) || return 1
    group=${group%/memory.max}
    grep -H . "$group"/memory.max "$group"/memory.swap.max "$group"/cpu.max "$group"/pids.max
    [ "$(cat "$group"/cpu.max)" = "50000 100000" ] && [ "$(cat "$group"/pids.max)" = 40 ] &&
        { [ ! -e "$group"/memory.swap.max ] || [ "$(cat "$group"/memory.swap.max)" = 0 ]; }
}
