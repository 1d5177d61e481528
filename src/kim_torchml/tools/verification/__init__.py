# SPDX-License-Identifier: LGPL-2.1-or-later
"""OpenKIM's ten verification checks, on any installed KIM portable model: `kim-torchml verify`.

`runner` starts `worker` processes; a worker opens the model as a `bench` and runs checks of `checks/` on it; what they
find comes back as `result.CheckResult`, for `table`, `html_report` and JSON. docs/verify.md describes the checks.

Needs ase, kimpy, and for the HTML report jinja2 and matplotlib (extra `verify`); nothing of it is needed by the driver.
"""
