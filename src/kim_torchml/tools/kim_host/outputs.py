# SPDX-License-Identifier: LGPL-2.1-or-later
"""KIM's names of what a model computes."""

from kim_torchml.driver.output_shapes import OUTPUT_NAMES

ENERGY, FORCES, PARTICLE_ENERGIES, VIRIAL, PARTICLE_VIRIALS = OUTPUT_NAMES
