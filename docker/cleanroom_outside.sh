#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The part of docker/cleanroom.sh that runs in namespaces of its own, with the host's files in sight: it makes the empty
# Debian, mounts what a system needs, and lays what comes from the host in memory, in the room's /mnt/host. Then it becomes
# docker/cleanroom_room.sh, which sees the room alone. What it mounts and starts ends with it.
set -euo pipefail
# The usual umask of a container, whatever the caller's is.
umask 022

docker=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=docker/cleanroom_machine.sh
source "$docker/cleanroom_machine.sh"

room=$1 suite=$2 mode=$3 reuse=$4 working_tree=$5 check=$6 packages=$7 count=$8
shift 8
build_arguments=("${@:1:count}")
shift "$count"
repository=$(dirname "$docker")
root="$room/root"
host=/mnt/host

[ $$ = 1 ] || fail "use docker/cleanroom.sh"

make_base() {
    local cached
    cached=$(cached_base "$suite")
    mkdir "$root"
    if [ -f "$cached" ]; then
        say "$suite of $(date -r "$cached" +%F), from $cached"
        tar -C "$root" --numeric-owner -xf "$cached"
        return
    fi
    # All suites share one script, `sid`; a debootstrap older than a suite has no name of its own for it.
    debootstrap --variant=minbase "$suite" "$root" "$(mirror "$suite")" sid >"$room/debootstrap.log" 2>&1 ||
        { tail -n 20 "$room/debootstrap.log" >&2 && exit 1; }
    if [ -z "${KIM_TORCHML_DEBIAN_MIRROR:-}" ] && [ -n "$(host_sources "$suite")" ]; then
        host_sources "$suite" >"$root/etc/apt/sources.list"
    fi
    # A room is thrown away: its packages need not survive a crash of the machine.
    echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/room"
    umount --quiet "$root/proc" || true
    rm -f "$root"/var/cache/apt/archives/*.deb
    if [ -n "$cached" ]; then
        mkdir -p "$(dirname "$cached")"
        tar -C "$root" --one-file-system --numeric-owner -cf "$cached.part" . && mv "$cached.part" "$cached"
    fi
}

# In a room that is used again a program has run as root. It may have put a link in the place of one of these folders,
# and the link would lead to a folder of the host.
check_folders() {
    local folder
    for folder in "$root" "$root"/{dev,mnt,proc,sys}; do
        [ -d "$folder" ] && [ ! -L "$folder" ] ||
            fail "$folder must be a folder, as in the room that was made, and is not (a link?): the room cannot be used again"
    done
}

mount_kernel() {
    local node
    # The folder must be a mount point to become the root of what runs here.
    mount --bind "$root" "$root"
    mount -t proc -o ro,nosuid,nodev,noexec proc "$root/proc"
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

# Copies the host's pip settings, and the folders of wheels that they name, besides the one of wheels from other rooms.
# Settings that name other files of the host (indexes, constraints) are left out, as the room does not have those files.
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
folders += [folder for folder in sys.argv[3:] if folder and pathlib.Path(folder).is_dir()]
target = pathlib.Path(sys.argv[1])
for number, folder in enumerate(folders):
    shutil.copytree(folder, target / f"wheels{number}")
    settings["find-links"] = " ".join(f"{sys.argv[2]}/wheels{number}" for number in range(len(folders)))
settings["cert"] = f"{sys.argv[2]}/certificates.crt"
lines = ["[global]", "disable-pip-version-check = true", *(f"{k} = {v}" for k, v in settings.items() if v)]
(target / "pip.conf").write_text("\n".join(lines) + "\n")
' "$root$host" "$host" "$(kept_wheels)"
}

# Clones the project with its history, without any path of the host in it.
project_files() {
    local target=$1
    git clone --quiet --no-hardlinks "$repository" "$target"
    git -C "$target" remote remove origin
    find "$target/.git/logs" -delete
    [ -n "$working_tree" ] || return 0
    git -C "$target" rm -rq --ignore-unmatch . >/dev/null
    (cd "$repository" && git ls-files -z --cached --others --exclude-standard |
        while IFS= read -r -d '' name; do if [ -e "$name" ]; then printf '%s\0' "$name"; fi; done |
        tar --null --files-from=- -cf -) | tar -C "$target" --no-same-owner -xf -
    git -C "$target" reset -q
}

# Writes the script of the Dockerfile's steps, and those that stand for `docker run`: as the image's user, as root, and
# as a number without an account.
image_scripts() {
    local user
    # The sources of someone whose umask is strict look like this; the image must work all the same.
    chmod -R go= "$root$host/context"
    python3 "$docker/dockerfile.py" build --context "$host/context" "${build_arguments[@]}" >"$root$host/steps.sh"
    for user in "" 0 4321; do
        python3 "$docker/dockerfile.py" run --user "$user" "${build_arguments[@]}" >"$root$host/run$user.sh"
    done
}

# Copies what comes from the host into memory, so that it is neither measured nor left, and no file of the room is in
# the way.
copy_from_host() {
    mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/mnt"
    mkdir "$root$host"
    cp -L /etc/resolv.conf "$root$host/resolv.conf"
    printf '127.0.0.1 localhost %s\n::1 localhost\n' "$(hostname)" >"$root$host/hosts"
    cp /etc/ssl/certs/ca-certificates.crt "$root$host/certificates.crt"
    apt-config dump | grep -E '^Acquire::(http|https|Check-Valid-Until|Check-Date|Retries)' >"$root$host/apt.conf" || true
    [ "${KIM_TORCHML_DEBIAN_SNAPSHOT:-}" != 1 ] || echo 'Acquire::Check-Valid-Until "false";' >>"$root$host/apt.conf"
    copy_pip_settings
    project_files "$root$host/context"
    [ "$mode" != image ] || image_scripts
    cp "$docker/cleanroom_room.sh" "$root$host/room.sh"
}

# Starts the room's first process. Of the host's environment it gets what a machine behind a proxy, or with two busy
# cores, needs.
enter_room() {
    local forwarded=() name
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY OMP_NUM_THREADS OPENBLAS_CORETYPE \
        OPENBLAS_L2_SIZE CI KIM_TORCHML_TORCH_BUILD KIM_TORCHML_TORCH_INDEX; do
        [ -z "${!name:-}" ] || forwarded+=("$name=${!name}")
    done
    exec setpriv --inh-caps=-all python3 -I "$docker/cleanroom_enter.py" "$root" /usr/bin/env \
        HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        APT_CONFIG="$host/apt.conf" PIP_CONFIG_FILE="$host/pip.conf" SSL_CERT_FILE="$host/certificates.crt" \
        "${forwarded[@]}" /bin/bash "$host/room.sh" "$mode" "$reuse" "$check" "$packages" "$@"
}

if [ -z "$reuse" ]; then
    say "making an empty Debian ($suite) in $room"
    make_base
    say "made in $SECONDS s"
fi
check_folders
mount_kernel
copy_from_host
enter_room "$@"
