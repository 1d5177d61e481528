# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs of torch.export (.pt2): reading, checking, running."""
