#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Sets everything up, installs the driver and the example models in KIM's user collection, runs them in LAMMPS and
# ASE, and prints a table. Safe to run twice; quick the second time. Options go to examples/demo.py (--help).
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
install="$repository/docker/install.sh"

bash "$install" system
bash "$install" environment examples
bash "$install" driver
bash "$install" model "$repository/examples/stillinger_weber" "$repository/examples/descriptor" "$repository/examples/graph"
exec "${KIM_TORCHML_ENVIRONMENT:-$repository/.venv}/bin/python" "$repository/examples/demo.py" "$@"
