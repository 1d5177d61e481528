# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs of torch.export as native code, which this machine makes itself and keeps in a cache of the user's."""
