# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bispectrum of the neighbour density, which is a density on the unit sphere in four dimensions."""
