# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model's folder, written: from a module (`kim_torchml.save_model`), from a file (`kim-torchml package`), and from a
folder of the published format (`kim-torchml upgrade`).

`statement` is what an author says of a model and `written_model` what comes of it; `first_checks` compares what was
written with the module and with differences of the energy, and `unfinished_folder` lets it appear only after that.
"""
