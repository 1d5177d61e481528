# SPDX-License-Identifier: LGPL-2.1-or-later
"""Trained potentials of other packages, made into folders that KIM can install: `kim-torchml convert`.

A family is a package's networks: one file here, and one line in `families`. `family` is the contract that it keeps,
`conversion` what is the same for all, and `comparison` what is computed beside the package's own calculator. No
family's package is imported before it is needed.
"""
