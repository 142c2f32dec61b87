#!/bin/sh
# Runs inside the emulated machine, as root, once it is up; test_machine judges each line "name: value".
# Set before: PORT of the broker and GATE, a port that is held open until the measurement outside is over.
set -eu

HOST=10.0.2.2
UNIT=edgenas-device

show() {
    systemctl show -P "$1" "$UNIT"
}

# Waits until the daemon is up under another process id than $1.
until_another_than() {
    for _ in $(seq 240); do
        [ "$(show MainPID)" = "$1" ] || [ "$(show ActiveState)" != active ] || return 0
        sleep 1
    done
}

# Says whether a user ($1, group $2) can read the settings, which may hold a password.
can_read() {
    if setpriv --reuid="$1" --regid="$2" --clear-groups cat /etc/edgenas/agent.env >/dev/null 2>&1; then
        echo yes
    else
        echo no
    fi
}

dmesg -n 1
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via "$HOST"

dpkg -i /try/*.deb
echo "before enrolment: $(show ActiveState) $(systemctl is-enabled "$UNIT")"
edgenas-device enroll --broker "mqtt://$HOST:$PORT" --fleet lab --id board-1
mkdir -p "/run/systemd/system/$UNIT.service.d"
printf '[Service]\nWatchdogSec=20\n' >"/run/systemd/system/$UNIT.service.d/quick.conf" # the minute takes too long here
systemctl daemon-reload
systemctl start "$UNIT"
first=$(show MainPID)
echo "ready: $(show ActiveState) $(show Type) $(stat -c %U "/proc/$first")"
echo "recovered: $(systemctl show -P Result "$UNIT-recover")"
echo "folders: $(stat -c '%U %a' /var/lib/edgenas) $(stat -c '%U %a' /run/edgenas)"
echo "settings readable: edgenas $(can_read edgenas edgenas), nobody $(can_read nobody nogroup)"

echo "=== ready to measure ==="
python3 -c 'import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2]))).recv(1)' "$HOST" "$GATE"
sleep 45 # more than two watchdog periods without a job
echo "after measuring: $(show ActiveState), $(show NRestarts) restarts, same process $([ "$(show MainPID)" = "$first" ] && echo yes)"
grep -E '^(VmRSS|VmHWM):' "/proc/$first/status" | tr -s '\t ' ' '

kill -9 "$first"
until_another_than "$first"
second=$(show MainPID)
echo "after a kill: $(show ActiveState), $(show NRestarts) restarts"
kill -STOP "$second"
until_another_than "$second"
echo "after it hung: $(show ActiveState), $(show NRestarts) restarts"
echo "watchdog timeouts: $(journalctl -u "$UNIT" --no-pager | grep -c -i 'watchdog timeout')"

if edgenas-device leave >/dev/null 2>&1; then
    echo "leave while it runs: done"
else
    echo "leave while it runs: refused"
fi
systemctl stop "$UNIT"
echo "stopped: $(show ActiveState) $(show Result)"
edgenas-device leave
dpkg --purge edgenas-device
systemctl daemon-reload
left=$(find / -xdev \( -path /try -o -path /proc -o -path /sys -o -path /var/log -o -path /var/lib/dpkg \) -prune \
    -o -name '*edgenas*' -print | tr '\n' ' ')
echo "left: [$left]"
echo "unit: $(systemctl show -P LoadState "$UNIT")"
if id edgenas >/dev/null 2>&1; then echo "user: there"; else echo "user: gone"; fi
