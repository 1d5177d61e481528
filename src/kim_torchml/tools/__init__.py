# SPDX-License-Identifier: LGPL-2.1-or-later
"""For people: commands that check installations and models. The driver never imports them."""
