# SPDX-License-Identifier: LGPL-2.1-or-later
"""Other programs: started, watched and ended."""
