# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bispectrum of a neighbourhood's density on the 3-sphere."""
