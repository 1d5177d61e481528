#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Sets everything up, installs the driver and the example models in KIM's user collection, runs them in LAMMPS and
# ASE, and prints a table. Safe to run twice; quick the second time. Options go to examples/demo.py (--help).
#
#   bash examples/run.sh --family NAME [OPTIONS]   a trained potential of another package instead, beside that package's
#                                                  own calculator: sevennet; options go to examples/NAME/compare.py
#
# The package gets an environment of its own, in .venv-families or in the folder that KIM_TORCHML_FAMILIES names.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
install="$repository/docker/install.sh"
python="${KIM_TORCHML_ENVIRONMENT:-$repository/.venv}/bin/python"
families=(sevennet)

misuse() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

family="" options=()
while [ $# -gt 0 ]; do
    case "$1" in
        --family)
            [ $# -gt 1 ] || misuse "--family must be followed by one of: ${families[*]}; got nothing"
            family=$2
            shift
            ;;
        --family=*) family=${1#*=} ;;
        *)
            options+=("$1")
            shift
            continue
            ;;
    esac
    shift
    [[ -n "$family" && " ${families[*]} " = *" $family "* ]] || misuse "--family must be one of: ${families[*]}; got '$family'"
done

bash "$install" system
bash "$install" environment examples
bash "$install" driver
if [ -z "$family" ]; then
    bash "$install" model "$repository/examples/stillinger_weber" "$repository/examples/descriptor" "$repository/examples/graph"
    exec "$python" "$repository/examples/demo.py" "${options[@]}"
fi
export KIM_TORCHML_FAMILIES="${KIM_TORCHML_FAMILIES:-$repository/.venv-families}"
"$python" -I -m kim_torchml.tools.convert.keep_environment "$family" "$KIM_TORCHML_FAMILIES/$family"
exec "$python" "$repository/examples/$family/compare.py" "${options[@]}"
