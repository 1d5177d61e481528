#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Sets everything up, checks the style and runs all tests. They use a KIM collection of their own and leave the user's
# alone. Options go to pytest, such as: bash tests/run.sh tests/unit -k graph. With options the style is not checked.
# The files of tests are shared out among as many processes as there are cores, at most four; with --numprocesses=0 all
# run in one. Types are checked only with the versions of numpy and torch that CI has; elsewhere a line says so.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$repository"
# The environment must be .venv: .pre-commit-config.yaml names the tools there.
unset KIM_TORCHML_ENVIRONMENT
# Whoever has set it wants bash tests/families.sh, which this is not.
unset KIM_TORCHML_FAMILIES

bash docker/install.sh system
bash docker/install.sh environment examples test lint
[ $# -gt 0 ] || .venv/bin/pre-commit run --all-files --show-diff-on-failure
# Each process builds a driver and installs models of its own: more than a few would do little else. In the order of
# their names the files that take minutes do not come last, when the other processes have nothing left to do.
exec .venv/bin/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder "$@"
