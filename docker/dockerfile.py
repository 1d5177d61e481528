# SPDX-License-Identifier: LGPL-2.1-or-later
"""Turn docker/Dockerfile into shell scripts, so that its very steps can be run where there is no Docker engine.

It knows the instructions that the Dockerfile has, in the forms it has them, and refuses all others.
"""

import argparse
import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

DOCKERFILE = Path(__file__).with_name("Dockerfile")


@dataclass(frozen=True)
class Instruction:
    """One instruction, such as RUN, and what follows it."""

    name: str
    text: str


def read_dockerfile(path: Path = DOCKERFILE) -> list[Instruction]:
    """Return the instructions of a Dockerfile.

    Args:
        path: The Dockerfile.
    Returns:
        Its instructions, with continued lines joined.
    """
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    pairs = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [Instruction(name.upper(), text.strip()) for name, text in pairs]


def _quoted(value: str) -> str:
    """Quote a value for the shell, which still expands references to variables in it, as Docker does."""
    return '"' + re.sub(r'(["`]|\$(?!\{?[A-Za-z_]))', r"\\\1", value.strip('"')) + '"'


def _assignments(text: str) -> list[tuple[str, str]]:
    pairs = re.findall(r'([A-Za-z_]\w*)=("[^"]*"|\S*)', text)
    if " ".join(f"{name}={value}" for name, value in pairs) != " ".join(text.split()):
        raise ValueError(f"ENV and ARG must be NAME=VALUE .., got {text!r}")
    return pairs


def _copy(text: str, context: str) -> list[str]:
    """Return commands that copy as Docker does: the content of a folder, into a target that is made if missing."""
    *sources, target = text.split()
    commands = [f"mkdir -p {shlex.quote(target)}"]
    for source in sources:
        content = f"{context}/{source}." if source.endswith("/") else f"{context}/{source}"
        commands.append(f"cp -R {shlex.quote(content)} {shlex.quote(target)}")
    return commands


def _default(text: str, arguments: Mapping[str, str]) -> str:
    name, _, value = text.partition("=")
    return f"export {name}={shlex.quote(arguments.get(name, value))}"


def build_script(instructions: list[Instruction], context: str, arguments: Mapping[str, str]) -> str:
    """Return the shell script that does what `docker build` would.

    Args:
        instructions: Instructions of the Dockerfile.
        context: Folder of the project's files.
        arguments: Values for ARG.
    Returns:
        The script. It runs each RUN through the shell function `layer`, which gets the text and the command.
    Raises:
        ValueError: If an instruction is unknown.
    """
    known: dict[str, Callable[[str], list[str]]] = {
        "FROM": lambda _: [],
        "ARG": lambda text: [_default(text, arguments)],
        "ENV": lambda text: [f"export {name}={_quoted(value)}" for name, value in _assignments(text)],
        "WORKDIR": lambda text: [f"mkdir -p {text}", f"cd {text}"],
        "COPY": lambda text: _copy(text, context),
        "RUN": lambda text: [f"layer {shlex.quote(text)} /bin/sh -c {shlex.quote(text)}"],
        "USER": lambda _: [],
        "ENTRYPOINT": lambda _: [],
    }
    lines: list[str] = []
    for instruction in instructions:
        if instruction.name not in known:
            raise ValueError(f"cannot do {instruction.name}: of a Dockerfile only {', '.join(known)} are known")
        lines += known[instruction.name](instruction.text)
    return "\n".join(lines) + "\n"


def run_script(instructions: list[Instruction], arguments: Mapping[str, str], user: str = "") -> str:
    """Return the shell script that runs its arguments as `docker run` would.

    Args:
        instructions: Instructions of the Dockerfile.
        arguments: Values for ARG.
        user: Number of the user, as in `docker run --user`; by default the image's user.
    Returns:
        The script. Root must run it; it changes to the user itself.
    """
    image_user, entry, folder = "0", "[]", "/"
    lines: list[str] = []
    hidden: list[str] = []
    for instruction in instructions:
        if instruction.name == "ARG":
            lines.append(_default(instruction.text, arguments))
            hidden.append(instruction.text.partition("=")[0])
        elif instruction.name == "ENV":
            lines += [f"export {name}={_quoted(value)}" for name, value in _assignments(instruction.text)]
        elif instruction.name == "USER":
            image_user = instruction.text
        elif instruction.name == "ENTRYPOINT":
            entry = instruction.text
        elif instruction.name == "WORKDIR":
            folder = instruction.text
    lines += [f"unset {' '.join(hidden)}", f"cd {folder}"]
    number = user or image_user
    words = ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups", *json.loads(entry)]
    return "\n".join([*lines, f'exec {shlex.join(words)} "$@"']) + "\n"


def main() -> None:
    """Print a script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("script", choices=("build", "run"))
    parser.add_argument("--context", default=".", help="folder of the project's files, for COPY")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--user", default="", help="with run: the number of a user")
    options = parser.parse_args()
    arguments = dict(argument.split("=", maxsplit=1) for argument in options.build_arg)
    instructions = read_dockerfile()
    if options.script == "build":
        print(build_script(instructions, options.context, arguments), end="")
    else:
        print(run_script(instructions, arguments, options.user), end="")


if __name__ == "__main__":
    main()
