# SPDX-License-Identifier: LGPL-2.1-or-later
"""The stores of model files: what is put into them, what they hold, and which installed models need it."""
