# SPDX-License-Identifier: LGPL-2.1-or-later
"""One call of a model: what it may return, its energies and their derivatives, and what a first call tells."""
