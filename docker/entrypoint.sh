#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The image's entry point. It runs the command that it is given; without one it prints what is inside and how to use it.
set -euo pipefail

if [ $# -gt 0 ]; then
    exec "$@"
fi

list=$(kim-api-collections-management list)

# Prints the names of this project's items in KIM's collections; $1 is "Model Drivers" or "Portable Models".
items() {
    awk -v kind="$1:" '/^[A-Z].*:/ { here = index($0, kind) == 1 } here && $1 ~ /^TorchML/ { print $1 }' <<<"$list" |
        sort -u | paste -sd ' '
}

python - "$(kim-api-collections-management --version | tail -n 1)" "$(lmp -help | sed -n 's/.*Simulator - //p' | head -n 1)" \
    "$(items "Model Drivers")" "$(items "Portable Models")" <<'PYTHON'
import platform
import sys
from importlib.metadata import version

kim_api, lammps, drivers, models = sys.argv[1:]
names = ("kim-torchml", "torch", "ase", "kimpy", "numpy")
packages = ", ".join(f"{name} {version(name)}" for name in names)
print(f"""\
kim-torchml: PyTorch potentials in LAMMPS, ASE and every other KIM simulator

Inside
  LAMMPS   {lammps} (lmp; under MPI: mpirun -np 2 lmp ...)
  KIM-API  {kim_api}, with the models of Debian's or Ubuntu's openkim-models
  Python   {platform.python_version()}: {packages}
  driver   {drivers or "none"}
  models   {models or "none"}

Use (IMAGE is what you called this image; the working folder inside is /workdir)
  docker run --rm IMAGE python /opt/kim-torchml/examples/demo.py --output /tmp/demo   try it: a table of three models
  docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/workdir" IMAGE lmp -in in.lammps
  docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/workdir" IMAGE python script.py
  docker run --rm -it IMAGE bash                                                      a shell
A model of yours (a folder with CMakeLists.txt), inside the container:
  kim-api-collections-management install user ./My_Model
It lasts as long as the container does: leave out --rm, or first, in each container, name a folder that you mount:
  mkdir -p /workdir/kim-models
  kim-api-collections-management set-user-portable-models-dir /workdir/kim-models
On a GPU (an image built for CUDA, NVIDIA's container toolkit on the host):
  docker run --rm --gpus all --env KIM_MODEL_EXECUTION_DEVICE=cuda ...""")
PYTHON
