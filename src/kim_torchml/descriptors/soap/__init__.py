# SPDX-License-Identifier: LGPL-2.1-or-later
"""The smooth overlap of atomic positions (SOAP)."""
