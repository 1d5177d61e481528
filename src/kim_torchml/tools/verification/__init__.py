# SPDX-License-Identifier: LGPL-2.1-or-later
"""OpenKIM's ten verification checks, on any installed KIM portable model: `kim-torchml verify`.

`runner` starts `worker` processes; a worker opens a `ModelUnderTest` and runs checks of `checks/` on it; their results
come back as `result.CheckResult`, for `table`, `html_report` and JSON. docs/verify.md describes the checks.

The checks need ase and kimpy, the HTML report jinja2 and matplotlib (extra `verify`); the driver needs none of these.
"""
