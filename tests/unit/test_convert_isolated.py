# SPDX-License-Identifier: LGPL-2.1-or-later
"""`kim-torchml convert --isolated`: what its environment is made of, what runs in it, and that nothing of it is left.

The packages are wheels of a few lines. One has the name of what the command imports first, so that the command itself
runs as far as that, and the package then says what it sees.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from fake_machine import script
from fresh_python import SOURCE
from tiny_wheels import write_source_archive, write_wheel

from kim_torchml.errors import DriverError
from kim_torchml.tools.cli import main
from kim_torchml.tools.convert import pip_install
from kim_torchml.tools.convert.families import FAMILIES
from kim_torchml.tools.convert.family import Family, FamilyPackage, Isolation
from kim_torchml.tools.convert.isolated import check_isolation, kept_environment
from kim_torchml.tools.request_error import RequestError

THIS = sys.version_info[:2]
# What stands in for the first package that the command imports: it says what it sees, and ends as a variable says.
CLICK = """
import json, os, signal, sys, tempfile, time
import tiny_network
seen = {"arguments": sys.argv, "path": sys.path, "files": os.listdir(), "temporary": tempfile.gettempdir()}
seen |= {"network": tiny_network.__file__, "home": os.environ.get("PYTHONPATH", ""), "pid": os.getpid()}
ends = os.environ.get("TINY_ENDS", "well")
def say_so(number, frame):
    print("kim-torchml: interrupted", file=sys.stderr)
    sys.exit(130)
if ends in ("never", "when told"):
    if ends == "when told":
        signal.signal(signal.SIGINT, say_so)
    open(os.environ["TINY_PID"], "w").write(f"{os.getpid()}\\n")
    while True:
        time.sleep(0.1)
if ends == "badly":
    print("Error: the source is damaged; fetch it again", file=sys.stderr)
    sys.exit(1)
if ends == "at once":
    os.kill(os.getpid(), signal.SIGKILL)
print(json.dumps(seen))
sys.exit(0)
"""


class Tiny(Family):
    """A family whose packages are small."""

    word = "tiny"
    title = "Tiny"
    sources = ("anything",)
    packages = (FamilyPackage("tiny-network", "tiny_network", "1.0"),)
    takes_species_as = True

    def __init__(self, **isolation):
        self.isolation = Isolation(
            **{"pinned": ("click==9.0",), "alone": ("tiny-network==1.0",), "pythons": (THIS, THIS)} | isolation
        )

    def look(self, asked):
        if asked.source == "bad":
            raise RequestError("`source` must be good, got 'bad'; correct it")
        return f"{asked.source} holds os.system" if asked.source == "bomb" else ""

    def load(self, asked):
        raise AssertionError("nothing is converted where the command runs")


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Return the folder of temporary files, which is empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """Return a folder of wheels, and of one package's sources."""
    folder = tmp_path_factory.mktemp("wheels")
    write_wheel(folder, "click", "9.0", {"click.py": CLICK})
    write_wheel(folder, "click", "9.1", {"click.py": "raise SystemExit('the wrong version')"})
    write_wheel(folder, "tiny_network", "1.0", {"tiny_network.py": ""})
    write_source_archive(folder, "built", "1.0", "raise SystemExit('code of the archive was run')")
    return folder


@pytest.fixture(autouse=True)
def pip_looks_at_wheels(wheels, monkeypatch):
    """Let pip know no index and no configuration of this machine."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))


@pytest.fixture
def convert(monkeypatch, temporary, capfd):
    """Return a function that runs the command for a family, and returns exit status, stdout and stderr."""

    def function(family, source, output, *options):
        monkeypatch.setitem(FAMILIES, "tiny", family)
        words = ["tiny", source, "--output", str(output), "--name", "Tiny", "--isolated", *options]
        with pytest.raises(SystemExit) as ended:
            main(["convert", *words], prog_name="kim-torchml")
        assert list(temporary.iterdir()) == []
        return (ended.value.code, *capfd.readouterr())

    return function


def test_what_runs_in_the_environment(convert, temporary, tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    for name in ("tiny_network", "torch", "pip", "venv", "click"):
        (work / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w').close()")
    (work / "weights.pth").touch()
    monkeypatch.chdir(work)
    monkeypatch.setenv("PYTHONPATH", str(work))
    # What a user may have said for other environments.
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "target"))
    options = ("--dtype", "float64", "--modal", "PBE", "--format", "pt2", "--species-as", "codes", "--trust")
    status, output, errors = convert(Tiny(), "weights.pth", "out", *options)
    assert (status, errors) == (
        0,
        "making a Python environment\ninstalling tiny-network 1.0 and 1 more package\nconverting weights.pth there\n",
    )
    seen = json.loads(output)
    program, *arguments = seen["arguments"]
    expected = ["convert", f"--output={work / 'out'}", "--name=Tiny", "--dtype", "float64", "--modal", "PBE"]
    expected += ["--format", "pt2", "--species-as", "codes", "--trust", "--", "tiny", str(work / "weights.pth")]
    assert arguments == expected
    packages = Path(program).parents[1]
    assert Path(program).name == "__main__.py" and packages.is_relative_to(temporary)
    assert Path(seen["network"]).parent == packages
    assert seen["files"] == []
    assert Path(seen["temporary"]).is_relative_to(temporary)
    assert not {"", str(work), str(SOURCE)} & set(seen["path"])
    assert seen["home"] == ""
    assert not (tmp_path / "imported").exists() and not (tmp_path / "target").exists()


def test_a_conversion_that_fails_has_said_why(convert, tmp_path, monkeypatch):
    monkeypatch.setenv("TINY_ENDS", "badly")
    status, output, errors = convert(Tiny(), "name", tmp_path / "out", "--install")
    assert (status, output) == (1, "")
    assert errors.splitlines()[3:] == ["Error: the source is damaged; fetch it again"]


def test_a_conversion_that_crashes(convert, tmp_path, monkeypatch):
    monkeypatch.setenv("TINY_ENDS", "at once")
    status, _, errors = convert(Tiny(), "name", tmp_path / "out")
    assert status == 1
    assert errors.splitlines()[3:] == [
        "Error: converting failed, as the process crashed (SIGKILL); if memory may have run out (SIGKILL), use a "
        "machine with more of it"
    ]


def test_what_has_no_wheel_is_not_built(convert, tmp_path):
    status, _, errors = convert(Tiny(alone=("tiny-network==1.0", "built==1.0")), "name", tmp_path / "out")
    assert status == 1
    said = errors.splitlines()[2]
    assert re.fullmatch(
        r"Error: pip could not install what was asked: there is no wheel of built==1\.0 for Python 3\.\d+ on Linux \S+ "
        r"where pip looks, and nothing is built from source; name an index .* \(PIP_INDEX_URL\), or convert on another "
        r"machine",
        said,
    )
    assert len(errors.splitlines()) == 3


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("bad", "Error: `source` must be good, got 'bad'; correct it"),
        ("bomb", r"Error: bomb holds os\.system, and unpickling runs .*; nothing was unpickled: say --trust .*"),
        ("name", r"Error: the folder \S+ must be new or empty, got one with files in it; name another folder"),
    ],
)
def test_the_request_is_checked_before_an_environment_is_made(convert, tmp_path, source, said):
    output = tmp_path / "out"
    if source == "name":
        output.mkdir()
        (output / "notes.txt").touch()
    status, _, errors = convert(Tiny(), source, output)
    assert status in (1, 2)
    assert re.fullmatch(said + "\n", errors)


def test_packages_that_do_not_fit_this_python(convert, tmp_path):
    status, _, errors = convert(Tiny(pythons=((3, 8), (3, 9))), "name", tmp_path / "out")
    assert status == 2
    assert re.fullmatch(
        r"Error: Python must be 3\.8 to 3\.9 for --isolated with Tiny, got 3\.\d+ \(.*\); run kim-torchml with one of "
        r"these, or leave --isolated out where tiny-network is installed\n",
        errors,
    )


def test_a_python_that_cannot_make_environments(monkeypatch):
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    said = r"needs Python's module ensurepip, which .* does not have; install it \(.*apt install python3\.\d+-venv\)"
    family = Tiny()
    with pytest.raises(DriverError, match=said):
        check_isolation(family, family.isolation)


# A process of its own, which a test can end.
PROGRAM = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_convert_isolated import FAMILIES, Tiny, main
FAMILIES["tiny"] = Tiny()
main(sys.argv[1:], prog_name="kim-torchml")
"""


def start(tmp_path, **variables):
    """Start the command in a process of its own."""
    words = ["convert", "tiny", "name", "--output", str(tmp_path / "out"), "--name", "Tiny", "--isolated"]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        env={**os.environ, "PYTHONPATH": str(SOURCE), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("number", "ends", "status", "line"),
    [
        (signal.SIGTERM, "never", 143, "kim-torchml: ended by SIGTERM"),
        (signal.SIGINT, "when told", 130, "kim-torchml: interrupted"),
    ],
)
def test_a_conversion_that_is_interrupted(temporary, tmp_path, number, ends, status, line):
    pid = tmp_path / "pid"
    process = start(tmp_path, TINY_ENDS=ends, TINY_PID=str(pid))
    wait_until(lambda: pid.exists() and pid.read_text().endswith("\n"), process)
    assert list(temporary.iterdir()) != []
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.splitlines()[3:]) == (status, [line])
    assert list(temporary.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_pip_that_is_interrupted(temporary, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        index = f"http://127.0.0.1:{server.getsockname()[1]}/simple"
        process = start(tmp_path, PIP_INDEX_URL=index, no_proxy="127.0.0.1")
        connection, _ = server.accept()
        with connection:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.splitlines()[2:]) == (143, ["kim-torchml: ended by SIGTERM"])
    assert list(temporary.iterdir()) == []


def wait_until(is_so, process):
    """Wait until something is so, while a process runs."""
    deadline = time.monotonic() + 120
    while not is_so():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def silent(*said):
    """Take what is said on the way."""


def test_an_environment_that_is_kept(tmp_path, monkeypatch, wheels):
    steps = []

    def say(step, how_far, fraction):
        steps.append(step)

    folder = tmp_path / "kept"
    python = kept_environment(Tiny(), folder, say)
    program = [python, "-I", "-m", "kim_torchml"]
    seen = json.loads(subprocess.run(program, capture_output=True, check=True, cwd=tmp_path).stdout)
    copy = Path(seen["arguments"][0]).parent
    assert copy.is_relative_to(folder)
    assert (copy / "errors.py").read_bytes() == (SOURCE / "kim_torchml" / "errors.py").read_bytes()
    assert steps
    steps.clear()

    # Nothing is installed again, and a copy of other sources is replaced.
    monkeypatch.setenv("PIP_FIND_LINKS", os.devnull)
    (copy / "errors.py").write_text("")
    (folder / "copy_of.txt").write_text("others")
    assert kept_environment(Tiny(), folder, say) == python
    assert steps == []
    assert (copy / "errors.py").read_bytes() == (SOURCE / "kim_torchml" / "errors.py").read_bytes()

    # Other packages are asked for, and one is not there; a failure leaves no Python that could be taken for the
    # environment, and what is made anew the next time.
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    for _ in range(2):
        with pytest.raises(DriverError, match=r"no wheel of tiny-network==2\.0 for Python"):
            kept_environment(Tiny(alone=("tiny-network==2.0",)), folder, silent)
        assert [path.name for path in folder.iterdir()] == ["made_of.txt"]
        assert (folder / "made_of.txt").read_text() == ""


def test_a_folder_of_something_else_is_let_be(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RequestError, match=r"must be new, empty or an environment made by this, got other files"):
        kept_environment(Tiny(), tmp_path, silent)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def install_with(python, tmp_path):
    pip_install.install(python, ["click==9.0"], (), os.environ, tmp_path, silent)


REFUSALS = [
    (
        ["ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"],
        r"the disk is full \(temporary files are in .*\); make room, or name a folder on a larger disk in TMPDIR$",
    ),
    (
        ["ERROR: Cannot install click==9.0 because these package versions have conflicting dependencies.", "", "  x"],
        r"it ended with status 1 \(Cannot install click==9\.0 because .*dependencies\.\); mend that, or look at `pip",
    ),
    (["usage: pip", "no such option: --no-user"], r"it ended with status 1 \(no such option: --no-user\); mend that"),
]


@pytest.mark.parametrize(("lines", "said"), REFUSALS)
def test_what_pip_says_becomes_a_sentence(tmp_path, lines, said):
    python = script(tmp_path / "python", *(f"echo '{line}'" for line in lines), "exit 1")
    with pytest.raises(DriverError, match=f"^pip could not install what was asked: {said}"):
        install_with(python, tmp_path)


def test_what_is_said_while_pip_works(tmp_path):
    lines = (
        "Looking in links: /wheels",
        "Collecting torch==2.13.0",
        "  Downloading torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl (190.3 MB)",
        "Processing /wheels/click-9.0-py3-none-any.whl",
        "Installing collected packages: torch, click",
    )
    python = script(tmp_path / "python", *(f"echo '{line}'" for line in lines))
    said = []
    pip_install.install(python, ["click==9.0"], (), os.environ, tmp_path, lambda *each: said.append(each))
    assert said == [(0, ""), (1, ""), (1, "fetching torch (190.3 MB)"), (2, ""), (2, "unpacking")]


def test_an_index_that_does_not_answer(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    for name, value in {"INDEX_URL": f"http://127.0.0.1:{port}/simple", "RETRIES": "1"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(DriverError, match=r"the package index did not answer for click==9\.0; connect this machine"):
        install_with(Path(sys.executable), tmp_path)


# What environments are made of: for converting, and with the family's own package where converting does not need it.
ISOLATIONS = {word: (family.isolation, family.packages) for word, family in FAMILIES.items()}
ISOLATIONS |= {
    f"{word} and its package": (family.reference, (FamilyPackage(word, word, "1.0.1"),))
    for word, family in FAMILIES.items()
    if family.reference is not None
}


@pytest.mark.parametrize("name", ISOLATIONS)
def test_families_name_exact_versions_once(name):
    isolation, packages = ISOLATIONS[name]
    everything = (*isolation.pinned, *isolation.alone, *isolation.if_needed)
    assert all(re.fullmatch(r"[a-z0-9.-]+==[0-9][0-9a-z.]*", each) for each in everything)
    names = [each.partition("==")[0] for each in everything]
    assert len(set(names)) == len(names)
    assert {"torch", "numpy", "click", "rich", "ase"} <= set(names)
    for package in packages:
        assert f"{package.name}=={package.version}" in everything
