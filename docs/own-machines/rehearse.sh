#!/usr/bin/env bash
# Runs cluster.yaml, as it stands, on one Linux machine: `ray up`, a sweep by `ray job submit`, a refused intruder, `ray down`.
#
#     sudo VENV=.venv docs/own-machines/rehearse.sh      # from a checkout; VENV has the extra `cluster`; the system is Debian or Ubuntu
#
# Four "machines" are namespaces of this one: a laptop, a head and two workers, each with its own processes, network address, /tmp
# and home. sshd and rsync are Debian's packages, unpacked into a folder and laid over /usr inside the namespaces only. All of it
# is gone when the script ends, however it ends: the processes live in a PID namespace whose first process is this script.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
project=$(cd "$here/../.." && pwd)
venv=$(cd "${VENV:-$project/.venv}" && pwd -P)
names=(laptop head worker-1 worker-2)

outside() {
    test "$(id -u)" = 0 || { echo "run this as root: it makes namespaces" >&2; exit 2; }
    work=$(mktemp -d "${TMPDIR:-/tmp}/rehearsal-XXXXXX")
    running=
    trap 'test -z "$running" || kill -KILL "$running" 2> /dev/null || true; rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    mkdir -p "$work"/{debs,tools/home/sweep,shared,homes}
    chmod 755 "$work" "$work"/debs
    (cd "$work/debs" && apt-get download -qq openssh-server openssh-sftp-server openssh-client rsync libwrap0 libpopt0 2> apt.log) ||
        { cat "$work/debs/apt.log" >&2; exit 1; }
    for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/tools"; done
    if test -d "$work/tools/lib"; then cp -a "$work/tools/lib/." "$work/tools/usr/lib/"; fi # as where /lib is /usr/lib
    ssh-keygen -q -t ed25519 -N "" -f "$work/key"
    ssh-keygen -q -t ed25519 -N "" -f "$work/host-key"
    (umask 077; python3 -c 'import secrets; print(secrets.token_hex(32))' > "$work/token")
    git clone --quiet "$project" "$work/project"
    # What pip needs to build the project where there is no network.
    "$venv/bin/python" -m pip download --quiet --disable-pip-version-check --dest "$work/wheels" 'setuptools>=77'
    for name in "${names[@]}"; do home "$work/homes/$name" "$name"; done
    grep -v '^\(root\|sshd\):' /etc/passwd > "$work/others"
    {
        echo 'sweep:x:0:0::/home/sweep:/bin/bash'
        echo 'sshd:x:74:74::/run/sshd:/usr/sbin/nologin'
        cat "$work/others"
    } > "$work/passwd"
    echo 'sweep:*:19000:0:99999:7:::' > "$work/shadow"
    status=0
    unshare --net --mount --pid --fork --kill-child --mount-proc --uts bash "$here/rehearse.sh" inside "$work" &
    running=$!
    wait "$running" || status=$?
    running=
    exit "$status"
}

home() { # FOLDER NAME: what a machine's user has before `ray up`
    mkdir -p "$1/.ssh" "$1/.config/pip"
    cp "$work/key.pub" "$1/.ssh/authorized_keys"
    printf '[global]\nno-index = true\nfind-links = /srv/sweeps/wheels\n' > "$1/.config/pip/pip.conf"
    if test "$2" = laptop; then
        cp "$work/key" "$1/.ssh/id_ed25519"
        install -D -m 600 "$work/token" "$1/.ray/auth_token"
    fi
    # An installed environment, as after a first `ray up`: by hard links, with its commands made to call its own Python.
    cp -al "$venv" "$1/venv" 2> /dev/null || cp -a "$venv" "$1/venv"
    for script in "$1"/venv/bin/*; do
        if test -f "$script" && ! test -L "$script" && head -c 2 "$script" | grep -q '#!'; then
            sed -i '1s|^#!.*python[0-9.]*$|#!/home/sweep/venv/bin/python|' "$script"
        fi
    done
}

inside() { # WORK: the laptop, and the wire between the machines
    work=$1
    mv "$work/wheels" "$work/shared/wheels"
    ip link set lo up
    ip link add lan type bridge
    ip addr add 10.99.0.1/24 dev lan
    ip link set lan up
    for number in 1 2 3; do
        unshare --net --mount --pid --fork --kill-child --mount-proc --uts bash "$here/rehearse.sh" machine "$work" "$number" &
        until test "$(readlink "/proc/$(child $!)/ns/net")" != "$(readlink /proc/self/ns/net)"; do sleep 0.1; done
        ip link add "port$number" master lan type veth peer name eth0 netns "$(child $!)"
        ip link set "port$number" up
    done
    furnish laptop
    cd /home/sweep/project
    export PATH=/home/sweep/venv/bin:$PATH RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 MLFLOW_TRACKING_URI=http://127.0.0.1:5000
    for number in 2 3 4; do
        wait_for "10.99.0.$number" 22
    done
    laptop
}

child() { cat "/proc/$1/task/$1/children" | tr -d ' '; }

furnish() { # NAME: a home, a /tmp and tools of its own
    hostname "$1"
    mount --make-rprivate /
    mount -t overlay overlay -o "lowerdir=$work/tools/usr:/usr" /usr
    mount -t overlay overlay -o "lowerdir=$work/tools/home:/home" /home # not hidden: a Python may live there
    mount --bind "$work/passwd" /etc/passwd
    mount --bind "$work/shadow" /etc/shadow
    printf '127.0.0.1 localhost\n10.99.0.2 head\n10.99.0.3 worker-1\n10.99.0.4 worker-2\n' > "$work/hosts"
    mount --bind "$work/hosts" /etc/hosts
    mount -t tmpfs tmpfs /srv
    mount -t tmpfs tmpfs /run
    mount -t tmpfs tmpfs /dev/shm
    mkdir -p /srv/sweeps /run/sshd
    mount --bind "$work/homes/$1" /home/sweep
    mount --bind "$work/shared" /srv/sweeps
    if test "$1" = laptop; then
        mkdir /home/sweep/project
        mount --bind "$work/project" /home/sweep/project
        cp -r "$here" /home/sweep/own-machines
    fi
    export HOME=/home/sweep
    cp "$work/host-key" /run/host-key
    mount -t tmpfs tmpfs /tmp # last: $work is under /tmp
}

machine() { # WORK NUMBER: wait for the wire, then serve ssh
    work=$1
    ip link set lo up
    until ip link show eth0 > /dev/null 2>&1; do sleep 0.1; done
    ip addr add "10.99.0.$(($2 + 1))/24" dev eth0
    ip link set eth0 up
    ip route add default via 10.99.0.1 # leads nowhere; Ray asks which address it would use
    furnish "${names[$2]}"
    exec /usr/sbin/sshd -D -e -f /dev/null -h /run/host-key -o UsePAM=no -o PasswordAuthentication=no -o PermitRootLogin=yes \
        -o StrictModes=no -o LogLevel=QUIET -o PidFile=none
}

say() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

laptop() { # what a user types
    say "ray up"
    quietly ray up --yes --no-config-cache /home/sweep/own-machines/cluster.yaml
    say "waiting for two workers"
    for _ in $(seq 60); do
        on_head 'ray status' > /tmp/status.log 2>&1 || true
        if grep -q '3 local.cluster.node' /tmp/status.log; then break; else sleep 1; fi
    done
    sed -n '/^Active/,/^Pending/p; /^ .* CPU/p' /tmp/status.log
    say "what listens on the head beyond loopback, and what only there"
    on_head 'ss -Hltnp' | awk '{where = $4 ~ /127\.0\.0\.1|::1\]/ ? "loopback" : "network "; print where, $4, $6}' |
        sed 's/users:(("//; s/",.*//' | sort
    say "a submission through a tunnel"
    ssh "${ssh_options[@]}" -N -L 8265:127.0.0.1:8265 -L 5000:127.0.0.1:5000 sweep@10.99.0.2 &
    wait_for 127.0.0.1 8265
    cp /home/sweep/own-machines/rehearsal.yaml /srv/sweeps/
    submit 2>&1 | sed 's/\x1b\[[0-9;]*m//g; /INFO cli.py/d; /SUCC cli.py:6[68]/d'
    say "the same submission again, one with a wrong token and one without: all are refused"
    refused 'already exists' submit
    RAY_AUTH_TOKEN=$(printf 'f%.0s' {1..64}) refused 'token' submit
    RAY_AUTH_MODE=disabled refused 'token' submit
    say "what the ledger says, and which machines trained"
    on_head 'cd ~/mopoe && python -m orchestrator status /srv/sweeps/rehearsal.yaml'
    grep -rhoE '"host": *"[^"]*"' --include=0001.json /srv/sweeps/runs | sort | uniq -c
    say "MLflow through the tunnel: runs by status"
    python -c 'import mlflow; print(mlflow.search_runs(search_all_experiments=True).groupby("status").size().to_dict())'
    say "ray up again: still one MLflow server, still three nodes"
    quietly ray up --yes --no-config-cache /home/sweep/own-machines/cluster.yaml
    for _ in $(seq 60); do
        if on_head 'ray status' 2> /dev/null | grep '3 local.cluster.node'; then break; else sleep 1; fi
    done
    on_head 'pgrep -fc "^[^ ]*python[^ ]* [^ ]*mlflow server"'
    say "ray down"
    quietly ray down --yes /home/sweep/own-machines/cluster.yaml
    # Only the head is told; the workers end by themselves when they have missed it for a minute.
    for number in 2 3 4; do
        for _ in $(seq 60); do if test "$(raylets "10.99.0.$number")" = 0; then break; else sleep 2; fi; done
        echo "10.99.0.$number: $(raylets "10.99.0.$number") raylets after $SECONDS s"
    done
    say "done"
}

ssh_options=(-q -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null)

on_head() { ssh "${ssh_options[@]}" "sweep@${host:-10.99.0.2}" bash -ic "'$1'" 2> /dev/null; }

raylets() { host=$1 on_head 'pgrep -c raylet' || true; }

wait_for() { for _ in $(seq 100); do if (: > "/dev/tcp/$1/$2") 2> /dev/null; then break; else sleep 0.2; fi; done; }

quietly() { # Ray's launcher lists every file that rsync sends
    "$@" > /tmp/quiet.log 2>&1 || { cat /tmp/quiet.log; exit 1; }
    grep -E 'New status|\([0-9]+/[0-9]+\)|Ray runtime started' /tmp/quiet.log | sed 's/\x1b\[[0-9;]*m//g; s/^.* -- //' | uniq || true
}

submit() {
    ray job submit --address http://127.0.0.1:8265 --submission-id rehearsal -- \
        bash -c 'cd ~/mopoe && python -m orchestrator sweep /srv/sweeps/rehearsal.yaml'
}

refused() { # WHY COMMAND...
    if "${@:2}" > /tmp/refused.log 2>&1; then echo "accepted: ${*:2}"; exit 1; fi
    grep -m 1 -oE ".{0,90}$1.{0,60}" /tmp/refused.log || { cat /tmp/refused.log; exit 1; }
}

case "${1:-}" in
    inside) inside "$2" ;;
    machine) machine "$2" "$3" ;;
    *) outside ;;
esac
