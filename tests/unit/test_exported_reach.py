# SPDX-License-Identifier: LGPL-2.1-or-later
"""What happens in a process that opens and runs a .pt2 file: nothing is imported, unpickled, compiled or started."""

import json

import pytest
from exporting import Splitting, exported_bytes
from fresh_python import run_python
from program_files import layered_program
from test_exported_mutations import varied_program

# Audit events of what a file must not be able to cause. Unpickling anything but plain values finds classes.
WATCH = """
    import pickle
    import sys
    from pathlib import Path
    import torch
    from kim_torchml.engines import open_program
    from kim_torchml.inputs import Argument, ModelInputs, Signature

    WATCHED = ("import", "compile", "exec", "open", "pickle.", "marshal.", "ctypes.", "subprocess.", "os.", "socket.")
    seen = []
    is_watching = False

    def see(event, arguments):
        if is_watching and event.startswith(WATCHED):
            seen.append((event, str(arguments[:1])))

    def unpickle(*arguments, **keywords):
        seen.append(("unpickle", ""))
        raise RuntimeError("a file is unpickled")

    def watch():
        global is_watching
        sys.addaudithook(see)
        for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (pickle, "_Unpickler")):
            setattr(module, name, unpickle)
        torch.load = torch.serialization.load = torch.jit.load = unpickle
        is_watching = True
"""
RUN = """
    arguments = Argument("species", ("n",)), Argument("edge_index", (2, "E")), Argument("vectors", ("E", 3), None)
    signature = Signature(arguments, "vectors", False, "", "", torch.float64)
    contents = [(name, Path(name).read_bytes()) for name in sys.argv[1:]]
    leaf = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    tensors = torch.zeros(2, dtype=torch.int64), torch.tensor([[0, 1], [1, 0]]), leaf
    # Autograd starts its machinery when something is first differentiated, whatever that is.
    torch.autograd.grad(leaf.square().sum(), leaf)
    # And Python loads what it needs for names in zip files that are not in UTF-8.
    "x".encode("cp437")
    before = set(sys.modules)
    watch()
    for name, content in contents:
        program = open_program(content, name, torch.device("cpu"), signature)
        result = program.run(ModelInputs(tensors, leaf, 2, slice(0, 1), None, 2), wants_gradient=True)
        if not result.gradient.abs().max() > 0:
            raise ValueError(name)
        program.with_tensors(program.tensors()).file_content(content)
        program.tables()
    is_watching = False
    new = sorted(set(sys.modules) - before)
"""
PRINT = """
    import json
    print(json.dumps([seen, new]))
"""


def seen_with(code, *arguments):
    """Return the audit events, and the modules that are new, of code in a process of its own."""
    return json.loads(run_python(WATCH + code + PRINT, arguments=arguments))


@pytest.mark.parametrize("kind", ["by hand", "by torch"])
def test_a_file_causes_nothing(kind, tmp_path):
    """Neither torch.export, pickle nor sympy is reached, and no file is opened."""
    contents = {"by hand": (layered_program(3).content, varied_program().content)}
    contents["by torch"] = (lambda: exported_bytes(Splitting),)
    paths = []
    for number, content in enumerate(contents[kind]):
        paths.append(tmp_path / f"{number}.pt2")
        paths[-1].write_bytes(content())
    assert seen_with(RUN, *paths) == [[], []]


CAUSES = {
    "import": "import wsgiref",
    "compile": "eval('1 + 1')",
    "exec": "eval('1 + 1')",
    "open": "Path(sys.executable).read_bytes()",
    "unpickle": "pickle.loads(b'N.')",
    "pickle.find_class": "__import__('_pickle').loads(bytes([99, *b'builtins', 10, *b'print', 10, 46]))",
    "ctypes.dlopen": "__import__('ctypes').CDLL(None)",
    "os.system": "__import__('os').system('true')",
    "subprocess.Popen": "__import__('subprocess').run(['true'])",
}


def test_what_is_watched_is_seen():
    code = f"""
    watch()
    for cause in {list(CAUSES.values())}:
        try:
            exec(cause)
        except Exception:
            pass
    is_watching = False
    new = []
    """
    assert set(CAUSES) <= {name for name, _ in seen_with(code)[0]}
