# SPDX-License-Identifier: LGPL-2.1-or-later
"""`python -m kim_torchml`: for environments whose script `kim-torchml` names a Python that has moved."""

from kim_torchml.tools.cli import main

main(prog_name="kim-torchml")
