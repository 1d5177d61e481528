#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Converts trained potentials with `kim-torchml convert`, and compares them with their packages' own calculators through
# LAMMPS and ASE. Each family has an environment of its own, in .venv-families (KIM_TORCHML_FAMILIES names another
# folder), which is kept: the first run downloads them. What cannot be installed is skipped, with the reason.
#
#   bash tests/families.sh [--quick] [FAMILY..] [-- OPTIONS OF PYTEST]     such as: bash tests/families.sh sevennet -- -x
#
# --quick leaves out what takes minutes, such as compiling.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$repository"
unset KIM_TORCHML_ENVIRONMENT
known=(sevennet mace nequip ani chgnet kliff)
families=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    case "$1" in
        --quick) export KIM_TORCHML_FAMILIES_QUICK=1 ;;
        -h | --help)
            sed -n '/^# Converts/,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        *)
            if [[ " ${known[*]} " != *" $1 "* ]]; then
                echo "families.sh: a family must be one of ${known[*]}, got $1; name one of them" >&2
                exit 2
            fi
            families+=("$1")
            ;;
    esac
    shift
done
[ "${1:-}" != -- ] || shift
[ ${#families[@]} -gt 0 ] || families=("${known[@]}")

bash docker/install.sh system
bash docker/install.sh environment examples test lint
export KIM_TORCHML_FAMILIES=${KIM_TORCHML_FAMILIES:-$repository/.venv-families}
mkdir -p "$KIM_TORCHML_FAMILIES"
for family in "${families[@]}"; do
    reason="$KIM_TORCHML_FAMILIES/$family.reason" status=0
    .venv/bin/python -I -m kim_torchml.tools.convert.keep_environment "$family" "$KIM_TORCHML_FAMILIES/$family" 2> >(
        tee "$reason" >&2
    ) || status=$?
    # 3: pip cannot install the packages, which is the reason why tests are skipped. Anything else is a mistake of ours.
    case $status in
        0) rm -f "$reason" ;;
        3) ;;
        *) exit "$status" ;;
    esac
done
wanted=$(printf ' or %s' "${families[@]}")
exec .venv/bin/python -m pytest --numprocesses=0 tests/integration/families -k "${wanted# or }" "$@"
