#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The part of docker/cleanroom.sh that runs in namespaces of its own: what it mounts and starts ends with it.
# shellcheck disable=SC2329 # prepare_* and run_* are called by the name of the mode
set -euo pipefail

repository=$1 room=$2 mode=$3 reuse=$4 working_tree=$5 check=$6 count=$7
shift 7
build_arguments=("${@:1:count}")
shift "$count"
root="$room/root"
# In memory, so that it is no part of what is measured or left.
host=/mnt/host
visitor=visitor

say() { printf '\033[1m[cleanroom]\033[0m %s\n' "$*"; }

[ $$ = 1 ] || { echo "use docker/cleanroom.sh" >&2 && exit 2; }

# Prints the Debian 12 mirrors that the host's apt uses, as lines of a sources.list.
# shellcheck disable=SC2016 # apt's own format
host_sources() {
    apt-get indextargets --format '$(ORIGIN) $(RELEASE) $(REPO_URI) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
        sed -n 's/^Debian \(bookworm[a-z-]*\) \([^ ]*\) \(.*\)/deb \2 \1 \3/p' | sort -u
}

mirror() {
    local from_host
    from_host=$(host_sources | awk '$3 == "bookworm" { print $2; exit }')
    echo "${KIM_TORCHML_DEBIAN_MIRROR:-$from_host}"
}

make_base() {
    local cached="${KIM_TORCHML_CLEANROOM_CACHE:+$KIM_TORCHML_CLEANROOM_CACHE/debian-12-$(dpkg --print-architecture).tar}"
    mkdir "$root"
    if [ -n "$cached" ] && [ -f "$cached" ]; then
        say "Debian 12 of $(date -r "$cached" +%F), from $cached"
        tar -C "$root" --numeric-owner -xf "$cached"
        return
    fi
    # shellcheck disable=SC2046 # without a mirror, no word at all
    debootstrap --variant=minbase bookworm "$root" $(mirror) >"$room/debootstrap.log" 2>&1 ||
        { tail -n 20 "$room/debootstrap.log" >&2 && exit 1; }
    [ -z "$(host_sources)" ] || host_sources >"$root/etc/apt/sources.list"
    umount --quiet "$root/proc" || true
    rm -f "$root"/var/cache/apt/archives/*.deb
    if [ -n "$cached" ]; then
        mkdir -p "$(dirname "$cached")"
        tar -C "$root" --one-file-system --numeric-owner -cf "$cached.part" . && mv "$cached.part" "$cached"
    fi
}

mount_kernel() {
    local node
    mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
    mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
    mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
    for node in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do
        # shellcheck disable=SC2086 # three words
        set -- $node
        mknod -m 666 "$root/dev/$1" c "$2" "$3"
    done
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,nosuid,noexec devpts "$root/dev/pts"
    mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    ln -s /proc/self/fd/0 "$root/dev/stdin"
    ln -s /proc/self/fd/1 "$root/dev/stdout"
    ln -s /proc/self/fd/2 "$root/dev/stderr"
}

# Copies the host's pip settings, and the folders of wheels that they name; what is on the host's disk besides
# (indexes, constraints) does not exist in the room.
copy_pip_settings() {
    # Debian's python3 alone has no pip, and then there are no settings.
    { python3 -m pip config list 2>/dev/null || true; } | python3 -c '
import ast, pathlib, shutil, sys

kept = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout", "retries")
settings, folders = {}, []
for line in sorted(sys.stdin, key=lambda line: line.startswith(":env:")):
    name, _, value = line.strip().partition("=")
    name, words = name.split(".", 1)[1], ast.literal_eval(value).split()
    if name == "find-links":
        folders = [word for word in words if pathlib.Path(word).is_dir()]
    elif name in kept:
        settings[name] = " ".join(word for word in words if not word.startswith("file:"))
target = pathlib.Path(sys.argv[1])
for number, folder in enumerate(folders):
    shutil.copytree(folder, target / f"wheels{number}")
    settings["find-links"] = " ".join(f"{sys.argv[2]}/wheels{number}" for number in range(len(folders)))
settings["cert"] = f"{sys.argv[2]}/certificates.crt"
lines = ["[global]", "disable-pip-version-check = true", *(f"{k} = {v}" for k, v in settings.items() if v)]
(target / "pip.conf").write_text("\n".join(lines) + "\n")
' "$root$host" "$host"
}

copy_from_host() {
    mkdir -p "$root$host"
    mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root$host"
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    printf '127.0.0.1 localhost %s\n::1 localhost\n' "$(hostname)" >"$root/etc/hosts"
    cp /etc/ssl/certs/ca-certificates.crt "$root$host/certificates.crt"
    apt-config dump | grep -E '^Acquire::(http|https|Check-Valid-Until|Check-Date|Retries)' >"$root$host/apt.conf" || true
    copy_pip_settings
    project_files "$root$host/context"
}

# A clone, with its history; no path of the host stays in it.
project_files() {
    local target=$1
    git clone --quiet --no-hardlinks "$repository" "$target"
    git -C "$target" remote remove origin
    [ -n "$working_tree" ] || return 0
    git -C "$target" rm -rq --ignore-unmatch . >/dev/null
    (cd "$repository" && git ls-files -z --cached --others --exclude-standard |
        while IFS= read -r -d '' name; do if [ -e "$name" ]; then printf '%s\0' "$name"; fi; done |
        tar --null --files-from=- -cf -) | tar -C "$target" --no-same-owner -xf -
    git -C "$target" reset -q
}

# Runs a command in the room with nothing of the host's environment but what a machine behind a proxy, or with two busy
# cores, needs. --chdir=FOLDER may come first, then NAME=VALUE.
in_room() {
    local forwarded=() folder=--chdir=/ name
    if [[ "$1" = --chdir=* ]]; then
        folder=$1
        shift
    fi
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY OMP_NUM_THREADS OPENBLAS_CORETYPE \
        OPENBLAS_L2_SIZE CI; do
        [ -z "${!name:-}" ] || forwarded+=("$name=${!name}")
    done
    chroot "$root" /usr/bin/env -i --default-signal=INT,QUIT "$folder" HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        APT_CONFIG="$host/apt.conf" PIP_CONFIG_FILE="$host/pip.conf" SSL_CERT_FILE="$host/certificates.crt" \
        "${forwarded[@]}" "$@"
}

# Of what is there.
megabytes() { { du -smx --apparent-size "$@" 2>/dev/null || true; } | awk '{ sum += $1 } END { print sum + 0 }'; }

# What all of this machine has received from the network.
received() { sed 's/:/ /' /proc/net/dev | awk '$1 != "lo" { sum += $2 } END { printf "%d", sum / 1048576 }'; }

report() {
    say "the room: $base_size MB before, $(megabytes "$root") MB after; this machine has received" \
        "$(($(received) - received_before)) MB meanwhile (all that runs on it), and pip took wheels of" \
        "$(megabytes "$root$host"/wheels*) MB from it"
}

prepare_root() { cp -R "$root$host/context" "$root/root/kim-torchml"; }

run_as_root() { in_room --chdir=/root/kim-torchml "$@"; }

prepare_user() {
    in_room useradd --create-home --shell /bin/bash "$visitor"
    cp -R "$root$host/context" "$root/home/$visitor/kim-torchml"
    in_room chown -R "$visitor:$visitor" "/home/$visitor/kim-torchml"
    in_room bash "/home/$visitor/kim-torchml/docker/install.sh" system
}

run_as_user() {
    in_room --chdir="/home/$visitor/kim-torchml" HOME="/home/$visitor" USER="$visitor" \
        setpriv --reuid="$visitor" --regid="$visitor" --init-groups "$@"
}

# The Dockerfile's steps, with the time and the size of each layer.
prepare_image() {
    python3 "$repository/docker/dockerfile.py" build --context "$host/context" "${build_arguments[@]}" >"$root$host/steps.sh"
    cat >"$root$host/build.sh" <<'SCRIPT'
set -euo pipefail
size() { du -smx --apparent-size / | cut -f1; }
layer() {
    local title=$1 before started=$SECONDS
    shift
    before=$(size)
    printf '\n[cleanroom] RUN %s\n' "$title"
    "$@"
    printf '[cleanroom] layer: %d s, %+d MB\n' "$((SECONDS - started))" "$(($(size) - before))"
}
SCRIPT
    cat "$root$host/steps.sh" >>"$root$host/build.sh"
    in_room bash "$host/build.sh" </dev/null
}

# As a user of this number; of none, as the image's.
run_container() {
    python3 "$repository/docker/dockerfile.py" run --user "$1" "${build_arguments[@]}" >"$root$host/run.sh"
    shift
    in_room bash "$host/run.sh" "$@"
}

check_image() {
    local checks=(python /opt/kim-torchml/docker/check.py) status=0
    say "what the image holds"
    run_container 0 "${checks[@]}" contents || status=1
    # A number without an account, as in docker run --user "$(id -u)"; the next container starts without its files.
    run_container 4321 "${checks[@]}" use || status=1
    find "$root/home" "$root/workdir" -xdev -uid 4321 -delete
    run_container "" "${checks[@]}" use || status=1
    return "$status"
}

run_as_image() {
    if [ -n "$check" ]; then
        check_image || return 1
    fi
    run_container "" "$@"
}

received_before=$(received)
[ -n "$reuse" ] || { say "making an empty Debian 12 in $room" && make_base; }
base_size=$(megabytes "$root")
say "an empty Debian 12 of $base_size MB after $SECONDS s; running: $*"
mount_kernel
copy_from_host
started=$SECONDS
[ -n "$reuse" ] || "prepare_$mode"
say "prepared in $((SECONDS - started)) s"
status=0
started=$SECONDS
"run_as_$mode" "$@" || status=$?
say "the command took $((SECONDS - started)) s"
report
exit "$status"
