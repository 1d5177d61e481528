# SPDX-License-Identifier: LGPL-2.1-or-later
"""A compute that failed, done again from the file that the driver saved: `kim-torchml replay`.

`failed_compute` reads the file, `replayed_compute` computes with a model of `kim_host`. Needs ase, kimpy and scipy.
"""
