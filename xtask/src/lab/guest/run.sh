# Everything that is tried in the guest, as root; it runs again after the reboot in its middle.

export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
. /lab/lib.sh
. /lab/settings
[ -e /usr/local/bin/hythe ] || cp /lab/hythe /usr/local/bin/hythe

demo() {
    within 120 connected && hythe demo --runtime embedded && hythe demo --clean
}

units_are_valid() {
    hythe units --directory /etc/systemd/system && systemctl daemon-reload &&
        systemd-analyze verify hythe.socket hythe.service hythe-workloads.service &&
        systemctl enable --now hythe.socket hythe.service hythe-workloads.service && hythe version
}

agent_of_a_command_ends() {
    kill "$(hythe --json version | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' | head -n 1)"
    within 20 sh -c '! pgrep -f "^[^ ]*hythe agent" >/dev/null'
}

deploy() {
    : >"$LOG" && composed "$LOG" >$COMPOSED && hythe image pack /lab/busybox --tag localhost/lab:1 --output /root/lab.tar &&
        hythe image load --runtime embedded /root/lab.tar && hythe deploy $COMPOSED && cat "$LOG"
}

main_pid() {
    systemctl show --property MainPID --value hythe.service
}

workload_pid() {
    cat /sys/fs/cgroup/hythe-*/cgroup.procs | sort -n | head -n 1
}

agent_is_replaced() {
    before=$(workload_pid) agent=$(main_pid)
    "$@" && within 60 hythe ps && runs shop-web && [ "$(main_pid)" != "$agent" ] && [ "$(workload_pid)" = "$before" ]
}

killed_agent() {
    kill -9 "$(main_pid)"
}

returned() {
    within 90 runs shop-web && hythe ps && cat "$LOG"
}

in_order() {
    cat "$1"
    [ "$(tr '\n' ',' <"$1")" = "db starts,web starts,web stops,db stops,db starts,web starts," ]
}

shutdown_is_fast() {
    took=$(($(sed -n 's/^btime //p' /proc/stat) - $(cat /root/rebooted)))
    echo "from the request to the kernel of the next boot: $took s"
    [ "$took" -lt 60 ]
}

user_image() {
    within 120 connected as_user &&
        as_user hythe image pack /lab/busybox --tag localhost/lab:1 --output /home/lab/lab.tar &&
        as_user hythe image load --runtime embedded /home/lab/lab.tar
}

user_without_delegation() {
    as_user hythe deploy /home/lab/shop.toml >/run/refused 2>&1
    cat /run/refused
    grep -q 'hythe units --user' /run/refused
}

user_agent_of_a_command_ends() {
    pkill -u lab -f 'hythe agent'
    within 20 sh -c '! pgrep -u lab -f "hythe agent" >/dev/null'
}

user_units() {
    as_user hythe units --user --directory /home/lab/.config/systemd/user && as_user systemctl --user daemon-reload &&
        as_user systemctl --user enable --now hythe.socket hythe.service hythe-workloads.service && as_user hythe runtimes
}

user_limits() {
    as_user hythe deploy /home/lab/shop.toml && as_user hythe ps && as_user hythe stats shop-db &&
        has_limits /sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/hythe.service
}

user_restart() {
    before=$(cat /home/lab/shop.log)
    as_user systemctl --user restart hythe.service && runs shop-web as_user && [ "$(cat /home/lab/shop.log)" = "$before" ] &&
        as_user systemctl --user stop hythe.service && runs shop-web as_user && [ "$(cat /home/lab/shop.log)" = "$before" ]
}

user_returned() {
    within 120 runs shop-web as_user && as_user hythe ps && cat /home/lab/shop.log
}

# conformance SUBJECT FILTERS COMMAND...: the suite's own lines and counts.
conformance() {
    subject=$1 filters=$2
    shift 2
    for filter in $filters; do
        "$@" timeout 600 /lab/conformance --test-threads 2 "$subject::$filter" 2>&1
    done
}

before_reboot() {
    uname -r
    systemctl --version | head -n 1
    hythe runtimes
    trial demo_runs_on_embedded_runtime demo
    agent_of_a_command_ends
    trial units_are_valid_and_start units_are_valid
    trial deploy_runs_components_in_order deploy
    trial limits_are_in_the_cgroup has_limits /sys/fs/cgroup
    trial workloads_outlive_a_restart_of_the_agent agent_is_replaced systemctl restart hythe.service
    trial socket_starts_a_stopped_agent agent_is_replaced systemctl stop hythe.service
    trial command_after_kill_of_the_agent_waits_for_the_next agent_is_replaced killed_agent
    : >/home/lab/shop.log
    composed /home/lab/shop.log >/home/lab/shop.toml
    chown lab:lab /home/lab/shop.log /home/lab/shop.toml
    trial rootless_image_is_loaded user_image
    trial rootless_limits_without_delegation_are_refused user_without_delegation
    user_agent_of_a_command_ends
    trial rootless_units_start user_units
    trial rootless_limits_are_in_the_delegated_cgroup user_limits
    trial rootless_workloads_outlive_a_restart_of_the_agent user_restart
}

after_reboot() {
    trial reboot_takes_less_than_a_minute shutdown_is_fast
    trial services_return_after_a_reboot returned
    trial reboot_stops_and_starts_in_order in_order "$LOG"
    trial rootless_services_return_after_a_reboot user_returned
    trial rootless_reboot_stops_and_starts_in_order in_order /home/lab/shop.log
    hythe undeploy shop
    as_user hythe undeploy shop
}

suites() {
    export HYTHE_TEST_EMBEDDED=1 HYTHE_TEST_BUSYBOX=/lab/busybox HYTHE_TEST_RETRY=1 HYTHE_BIN=/usr/local/bin/hythe
    conformance embedded "$FILTERS"
    results=/home/lab/results.json
    conformance embedded-subuid "$ROOTLESS" systemd-run --quiet --pipe --wait --uid lab --gid lab \
        -p Delegate=yes -p DelegateSubgroup=agent \
        -E HOME=/home/lab -E HYTHE_CONFORMANCE_RESULTS=$results -E HYTHE_CONFORMANCE_ROOTLESS=embedded-subuid \
        -E HYTHE_TEST_EMBEDDED=1 -E HYTHE_TEST_BUSYBOX=/lab/busybox -E HYTHE_TEST_RETRY=1 -E PATH="$PATH"
}

if [ ! -e /root/rebooted ]; then
    [ "$UNITS" = 0 ] || before_reboot
    if [ "$UNITS" != 0 ]; then
        result
        date +%s >/root/rebooted
        sync
        systemctl reboot
        sleep 600
    fi
else
    after_reboot
    result
fi
suites
