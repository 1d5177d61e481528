# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml compile`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from kim_torchml.tools.cli.user_errors import errors_as_sentences

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kim_torchml.engines import Progress
    from kim_torchml.tools.compilation.compile_model import Compiled
    from kim_torchml.tools.late_progress import LateProgress

_EXAMPLE = "\b\nExample:\n  kim-torchml compile My_Model\n  kim-torchml compile ./My_Model --device cuda"


@click.command(name="compile", epilog=_EXAMPLE, short_help="Compile a model for this machine.")
@click.argument("target")
@click.option(
    "--device",
    help="Device to compile for: cpu, cuda or cuda:N; by default what KIM_MODEL_EXECUTION_DEVICE names, or cpu.",
)
@click.option("--force", is_flag=True, help="Compile it anew where that has been done.")
def compile_command(target: str, device: str | None, force: bool) -> None:
    """Compile the model TARGET, a model's folder or the KIM id of an installed model, for this machine.

    Its model file must be a program of torch.export (.pt2). What is compiled is compared with the program itself for
    several numbers of particles, timed beside it, and kept in a cache of yours, where simulators find it. That takes a
    minute or a few, and a C++ compiler.

    Exit status: 0 if it is compiled, 1 if that failed, 2 if TARGET is no model that can be compiled.
    """
    # These modules need torch, for which the other subcommands do not have to wait.
    from kim_torchml.process.imports import import_needed_packages
    from kim_torchml.tools.late_progress import LateProgress

    with errors_as_sentences(), LateProgress() as progress:
        progress("importing torch", 0.0)
        import_needed_packages()
        from kim_torchml.process import settings
        from kim_torchml.tools.compilation.compile_model import compile_model
        from kim_torchml.tools.compilation.environment_of_driver import compile_there
        from kim_torchml.tools.compilation.remarks import remarks_on_word, why_no_model_opens
        from kim_torchml.tools.model_info.target import find_target

        found, show = find_target(target, os.environ), shown(progress, target)
        remarks = remarks_on_word()
        for remark in remarks:
            click.echo(remark, err=True)
        wanted, asked_in = (device, "--device") if device else (settings.execution_device(), settings.DEVICE)
        compiled = compile_model(found, wanted, force, os.environ, show, asked_in)
    click.echo(compiled_sentence(compiled))
    if python := compiled.elsewhere:
        click.echo(
            f"note: the driver of {compiled.name} runs in the environment of {python}, and takes this only if torch "
            f"has the same version there; else run `{compile_there(python, compiled.name)}`",
            err=True,
        )
    # A word that is none has been told of; the driver of another environment may see another GPU.
    elif not remarks and (reason := why_no_model_opens()):
        click.echo(f"warning: simulators open no model: {reason}", err=True)


def shown(progress: LateProgress, name: str) -> Callable[[Progress], None]:
    """Return what shows how far compiling is: stage, time so far, and what is left by the part that is done.

    Where stderr is no terminal, each stage is a line: a minute without a word looks like a process that hangs.
    """
    stages: list[str] = []

    def show(found: Progress) -> None:
        if progress.is_silent and found.stage not in stages[-1:]:
            stages.append(found.stage)
            click.echo(f"compiling {name}: {found.stage} ({found.seconds:.0f} s)", err=True)
        left = found.seconds * (1.0 - found.part) / found.part if found.part > _FIRST_GUESS else None
        text = f"{found.stage}, {left:.0f} s left" if left is not None else found.stage
        progress(text, found.part)

    return show


def compiled_sentence(compiled: Compiled) -> str:
    """Return what was compiled, and what that brings."""
    facts = compiled.entry.facts
    when = f"in {facts.seconds:.0f} s" if compiled.is_new else "before; --force compiles it anew"
    return (
        f"{compiled.name} is compiled for {compiled.device} ({when}): {speed(facts.speed_ups)} the speed of "
        "the program itself, without neighbours and all else of a step; simulators run the faster one\n"
        f"{compiled.entry.folder}"
    )


def speed(speed_ups: Mapping[int, float]) -> str:
    """Return how many times faster native code is, by number of threads where it was timed for several."""
    if len(speed_ups) < 2:
        return "".join(f"{speed_up:.2f} x" for speed_up in speed_ups.values())
    return ", ".join(f"{speed_up:.2f} x ({threads} threads)".replace("(1 threads)", "(1 thread)")
                     for threads, speed_up in sorted(speed_ups.items()))  # fmt: skip


# Part of the work before which the time so far tells nothing of the time that is left.
_FIRST_GUESS = 0.1
