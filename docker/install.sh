#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Sets up what kim-torchml needs on Debian or Ubuntu. One list of system packages and one place where torch is
# chosen: examples/run.sh, tests/run.sh and docker/Dockerfile share it. Every step is quick where it has been done before.
#
#   bash docker/install.sh system                system packages (by apt, only where one is missing)
#   bash docker/install.sh torch                 the Python environment (.venv), with torch alone
#   bash docker/install.sh dependencies EXTRA..  likewise, with what pyproject.toml asks for, but not kim-torchml
#   bash docker/install.sh environment EXTRA..   likewise, with kim-torchml and extras of pyproject.toml
#   bash docker/install.sh driver                the driver, into KIM's user collection
#   bash docker/install.sh model FOLDER..        models, likewise
#   bash docker/install.sh account NAME N FOLDER for the image: user NAME, number N; a folder where anyone may write
#   bash docker/install.sh clean                 for the image: removes what apt and pip have downloaded
#
# Variables: KIM_TORCHML_ENVIRONMENT (the environment's folder, default .venv), KIM_TORCHML_BASE_PYTHON (the Python it
# is made of), KIM_TORCHML_COLLECTION (user or system), KIM_TORCHML_TORCH_BUILD (such as cpu or cu130; default: what pip
# takes) and KIM_TORCHML_TORCH_INDEX (where pip finds that build, beside its own indexes).
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
environment=${KIM_TORCHML_ENVIRONMENT:-$repository/.venv}
collection=${KIM_TORCHML_COLLECTION:-user}
# LAMMPS of Debian and Ubuntu links the system's libpython: the environment must be of the same Python.
base_python=${KIM_TORCHML_BASE_PYTHON:-/usr/bin/python3}
torch_build=${KIM_TORCHML_TORCH_BUILD:-}
torch_version="2.13.0${torch_build:++$torch_build}"
# As src/kim_torchml/process/oldest_versions.py has it, which is not there yet when the image installs torch.
oldest_torch="2.4"

# Without wget or curl KIM's manager installs nothing, not even a local folder.
system_packages=(
    ca-certificates git wget cmake make g++ pkg-config xxd
    libkim-api-dev openkim-models lammps mpi-default-bin
    python3 python3-dev python3-venv
)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

say() { printf '\033[1m[kim-torchml]\033[0m %s\n' "$*"; }

fail() {
    printf '[kim-torchml] error: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "system packages are missing; as root, run: apt-get install ${system_packages[*]}"
    fi
}

missing_packages() {
    local package
    for package in "${system_packages[@]}"; do
        dpkg-query -W -f='${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed$' || echo "$package"
    done
}

install_system() {
    local missing log="$scratch/apt.txt"
    command -v dpkg-query >/dev/null || fail "this script needs Debian or Ubuntu; see README.md for other systems"
    mapfile -t missing < <(missing_packages)
    if [ ${#missing[@]} -eq 0 ]; then
        say "system packages: all there"
        return
    fi
    say "system packages: installing ${missing[*]} (on an empty system some 200 MB are downloaded)"
    # This comes before apt's output is hidden: it may ask for a password, or say what root must do.
    as_root true
    if ! { as_root apt-get update -q && as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        cat "$log" >&2
        fail "apt could not install the system packages (its output is above)"
    fi
}

# Succeeds if the given Python has a torch that the driver can use.
has_torch() {
    "$1" - "$oldest_torch" 2>/dev/null <<'PYTHON'
import sys
from importlib.metadata import version

wanted = tuple(int(part) for part in sys.argv[1].split("."))
sys.exit(tuple(int(part) for part in version("torch").split(".")[:2]) < wanted)
PYTHON
}

create_environment() {
    local options=()
    [ -x "$base_python" ] || fail "there is no Python at $base_python (KIM_TORCHML_BASE_PYTHON)"
    if has_torch "$base_python"; then
        # The machine's owner has installed the torch that suits its GPU: the environment takes that one.
        options=(--system-site-packages)
    fi
    say "Python environment: creating $environment from $base_python"
    "$base_python" -m venv "${options[@]}" "$environment"
}

# A digest of all files below the given ones, names included.
digest() {
    find "$@" -name __pycache__ -prune -o -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum
}

# A digest of the project's own files: pip is run again when it differs from that of the last installation.
environment_state() {
    (cd "$repository" && digest pyproject.toml docker/install.sh CMakeLists.txt src kim_driver_cpp)
}

# Succeeds if pip, with the given options, knows of that torch for this Python and machine.
pip_knows_torch() {
    local versions
    # One retry is enough: where there is no network, pip's usual number of them takes minutes.
    versions=$("$environment/bin/python" -m pip --retries 1 index versions torch "$@" 2>/dev/null | tr ',\n' '  ')
    [[ " $versions " = *" $torch_version "* ]]
}

# Sets `index` to the options with which pip finds the build that is wanted. The Python Package Index takes no version with
# a build in its name, so that only PyTorch's own index, a mirror of it, or a folder of wheels has one.
choose_index() {
    local address=${KIM_TORCHML_TORCH_INDEX:-} wanted
    index=()
    [ -z "$address" ] || index=(--extra-index-url "$address")
    [ -n "$torch_build" ] && ! pip_knows_torch "${index[@]}" || return 0
    wanted="torch==$torch_version for $("$environment/bin/python" -V) on $(uname -m)"
    [ -z "$address" ] || fail "pip finds no $wanted, neither in its own indexes nor in $address: mend the network, or name an" \
        "index that has it in KIM_TORCHML_TORCH_INDEX (docs/install.md)"
    fail "pip finds no $wanted in its own indexes: name PyTorch's index of that build in KIM_TORCHML_TORCH_INDEX; PyTorch's" \
        "start page shows its address (docs/install.md)"
}

install_torch() {
    local index
    # An interrupted creation leaves a Python without pip.
    "$environment/bin/python" -m pip --version >/dev/null 2>&1 || create_environment
    if has_torch "$environment/bin/python"; then
        return
    fi
    choose_index
    say "Python environment: installing torch==$torch_version${index[1]:+ from ${index[1]}} (the largest download)"
    "$environment/bin/python" -m pip install --quiet "${index[@]}" "torch==$torch_version" ||
        fail "pip could not install torch==$torch_version (its reason is above; docs/install.md)"
}

# torch is pinned to the version that is there, so that no package can bring another one. kimpy is compiled without
# debugging symbols, with few optimisations and on all cores: that takes a quarter of the time and saves 90 MB.
pip_install() {
    local constraints="$scratch/constraints.txt" setuptools="$scratch/setuptools.cfg"
    printf '[build_ext]\nparallel = %d\n' "$(env -u OMP_NUM_THREADS nproc)" >"$setuptools"
    "$environment/bin/python" -c 'from importlib.metadata import version; print("torch==" + version("torch"))' >"$constraints"
    CFLAGS="-g0 -O1 ${CFLAGS:-}" CXXFLAGS="-g0 -O1 ${CXXFLAGS:-}" DIST_EXTRA_CONFIG="$setuptools" \
        "$environment/bin/python" -m pip install --quiet --constraint "$constraints" "$@"
}

# Prints what pyproject.toml asks for, with the given extras.
requirements() {
    "$environment/bin/python" - "$repository/pyproject.toml" "$@" <<'PYTHON'
import sys

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
extras = [project["optional-dependencies"][extra] for extra in sys.argv[2:]]
print("\n".join(dict.fromkeys(sum(extras, project["dependencies"]))))
PYTHON
}

install_dependencies() {
    install_torch
    say "Python environment: installing what kim-torchml needs with its extras: ${*:-none} (kimpy is compiled: some minutes)"
    requirements "$@" >"$scratch/requirements.txt"
    pip_install --requirement "$scratch/requirements.txt"
}

install_environment() {
    local extras state installed now
    extras=$(IFS=,; echo "$*")
    # There is one record for each set of extras, so that the two commands of the README do not repeat each other's work;
    # and one of the files that are installed, because several checkouts may share the environment.
    state="$environment/kim-torchml-state-${extras//,/-}"
    installed="$environment/kim-torchml-installed"
    install_torch
    now=$(environment_state)
    if [ "$now" = "$(cat "$state" 2>/dev/null)" ] && [ "$now" = "$(cat "$installed" 2>/dev/null)" ]; then
        say "Python environment: up to date ($environment)"
        return
    fi
    if [ "$now" = "$(cat "$installed" 2>/dev/null)" ]; then
        # The package is there, with other extras.
        install_dependencies "$@"
    else
        say "Python environment: installing kim-torchml with its extras: ${extras:-none}${extras:+ (kimpy is compiled: some minutes)}"
        rm -f "$installed"
        pip_install "$repository${extras:+[$extras]}"
    fi
    echo "$now" | tee "$installed" >"$state"
}

# KIM's manager copies the folder it is given, twice: hand it the project's files without .venv and build folders.
export_sources() {
    local target=$1
    mkdir -p "$target"
    (cd "$repository" && cp -r --parents CMakeLists.txt LICENSE kim_driver_cpp src/kim_torchml "$target")
    find "$target" -name __pycache__ -prune -exec rm -r {} +
}

# KIM's tools leave a kim.log where they run.
kim_collections() {
    (cd "$scratch" && kim-api-collections-management "$@")
}

is_installed() {
    local installed
    installed=$(kim_collections list 2>/dev/null)
    grep -qx "[[:space:]]*$1" <<<"$installed"
}

kim_install() {
    local folder=$1 name=$2 log="$scratch/kim.txt"
    if is_installed "$name"; then
        kim_collections remove --force "$name" >"$log" 2>&1 || fail "KIM could not remove $name: $(cat "$log")"
    fi
    if ! kim_collections install "$collection" "$(realpath "$folder")" >"$log" 2>&1; then
        cat "$log" >&2
        fail "KIM could not install $name (its output is above)"
    fi
}

# Installs an item unless the same content was installed into the same collection before.
kim_install_if_changed() {
    local folder=$1 name=$2 stamp state
    stamp="$environment/installed-$(kim_collection | sha256sum | cut -c1-16)-$name"
    state="$environment ${KIM_TORCHML_PYTHON:-} $("$environment/bin/python" -VV) $(cd "$folder" && digest .)"
    if [ "$state" = "$(cat "$stamp" 2>/dev/null)" ] && is_installed "$name"; then
        say "KIM $collection collection: $name is up to date"
        return
    fi
    say "KIM $collection collection: installing $name"
    kim_install "$folder" "$name"
    echo "$state" >"$stamp"
}

kim_collection() {
    echo "$collection ${KIM_API_CONFIGURATION_FILE:-default}"
}

install_driver() {
    local work="$scratch/driver"
    export_sources "$work/TorchMLModelDriver"
    VIRTUAL_ENV="$environment" kim_install_if_changed "$work/TorchMLModelDriver" "${KIM_TORCHML_DRIVER_NAME:-TorchMLModelDriver}"
}

install_models() {
    local folder name work
    for folder in "$@"; do
        [ -f "$folder/CMakeLists.txt" ] || fail "there is no model in $folder (no CMakeLists.txt)"
        name=$(sed -n 's/^ *project(\([A-Za-z0-9_]*\).*/\1/p' "$folder/CMakeLists.txt")
        [ -n "$name" ] || fail "$folder/CMakeLists.txt does not name the model: project(NAME)"
        work="$scratch/$name"
        mkdir "$work"
        # KIM's manager makes a folder `build` of its own in its copy.
        tar -C "$folder" --exclude=./build --exclude=__pycache__ -cf - . | tar -C "$work" -xf -
        kim_install_if_changed "$work" "$name"
        rm -rf "$work"
    done
}

# Everyone may write in the image's home and working folder, because `docker run --user` may name any user number.
make_account() {
    local name=$1 number=$2 folder=$3
    id "$name" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash --uid "$number" --user-group "$name"
    mkdir -p "$folder"
    # The builder may have files that only their owner can read.
    chmod -R a+rX "$repository"
    chmod 1777 "$folder" "$(getent passwd "$name" | cut -d: -f6)"
}

clean() {
    rm -rf "$HOME/.cache/pip"
    [ "$(id -u)" = 0 ] || return 0
    apt-get clean
    rm -rf /var/lib/apt/lists/*
}

step=${1:-}
[ $# -gt 0 ] && shift
case "$step" in
    system) install_system ;;
    torch) install_torch ;;
    dependencies) install_dependencies "$@" ;;
    environment) install_environment "$@" ;;
    driver) install_driver ;;
    model) install_models "$@" ;;
    account) make_account "$@" ;;
    clean) clean ;;
    *)
        sed -n '/^# Sets up/,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit 2
        ;;
esac
