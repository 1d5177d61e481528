# SPDX-License-Identifier: LGPL-2.1-or-later
"""Commands for people, which check installations and models. The driver never imports this package."""
