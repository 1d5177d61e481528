# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model's folder, checked without KIM: `kim_torchml.check_model` and `kim-torchml check`.

`loaded_model` opens a folder as the driver does, `structures` makes what is computed, and `trial` holds both with the
tolerance. Each function of `checks`, `image_checks` and `precision_checks` makes one row of the table in `outcome`.
"""
