# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a .pt2 file shows that stands alone, also one that would not be run: all of it out of the file's JSON."""

import io
import zipfile
from collections.abc import Iterable, Iterator

import torch

from kim_torchml.engines.exported.archive import ProgramArchive, open_archive
from kim_torchml.engines.exported.document import JsonObject
from kim_torchml.engines.exported.operators import ASSERTIONS, SIZE_FUNCTIONS, find_operator
from kim_torchml.engines.exported.program import read_program
from kim_torchml.engines.exported.reading import WEIGHT_NAMES
from kim_torchml.engines.exported.sizes import symbol_of
from kim_torchml.engines.exported.weights import dtype_of
from kim_torchml.engines.facts import ProgramFacts, TensorFacts, type_word
from kim_torchml.errors import DriverError, shortened

_EXTRA, _SAMPLES = "extra/", "data/sample_inputs/"
# Words for the sizes that change, in the order in which inputs have them: rows and edges.
_WORDS = ("n", "E")
_CONSTANT = "tensor_constant"


def looks_exported(content: bytes) -> bool:
    """Return whether a file, whatever its name is, has the layout of a .pt2 file."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            return any(name.endswith("/archive_format") and name.count("/") == 1 for name in file.namelist())
    except Exception:  # a damaged file raises BadZipFile, struct.error, ValueError, ...
        return False


def describe_exported(content: bytes, file_name: str) -> ProgramFacts:
    """Return what a .pt2 file shows; see describe_program."""
    archive = open_archive(content, file_name)
    problem: DriverError | None = None
    try:
        read_program(archive, torch.device("cpu"))
    except DriverError as error:
        problem = error
    try:
        return _Description(archive).facts("" if problem is None else str(problem))
    except DriverError as error:
        # What keeps a file from being run says more than what keeps it from being described.
        raise problem or error from None


class _Description:
    """Collects facts about one file."""

    def __init__(self, archive: ProgramArchive) -> None:
        self._archive = archive
        self._program = archive.json(f"models/{archive.model}.json")
        module = self._program.object("graph_module")
        self._graph, self._signature = module.object("graph"), module.object("signature")
        self._metas = self._graph.object("tensor_values")
        self._words: dict[str, str] = {}

    def facts(self, problem: str) -> ProgramFacts:
        """Return the facts.

        Args:
            problem: Why the program would not be run.
        """
        inputs = tuple(self._user_tensors("input_specs", "user_input"))
        targets = [target for each in self._graph.objects("nodes") if (target := each.text("target")) not in ASSERTIONS]
        floating = (each.dtype for each in inputs if "float" in each.dtype)
        entries = self._archive.entries
        return ProgramFacts(
            format="torch.export program",
            arguments=tuple(each.name for each in inputs),
            n_required=len(inputs),
            dtype=next(floating, "float64"),
            tensors=tuple(self._held(each for each in WEIGHT_NAMES if each != _CONSTANT)),
            extra_files=tuple(name.removeprefix(_EXTRA) for name in entries if name.startswith(_EXTRA)),
            versions=self._versions(),
            inputs=inputs,
            outputs=tuple(self._user_tensors("output_specs", "user_output")),
            constants=tuple(self._held([_CONSTANT])),
            n_nodes=len(targets),
            operators=tuple(sorted({_name_of(each) for each in targets})),
            refused_operators=tuple(sorted({_name_of(each) for each in set(targets) if _is_refused(each)})),
            has_sample_inputs=any(name.startswith(_SAMPLES) and entry.file_size for name, entry in entries.items()),
            problem=problem,
        )

    def _versions(self) -> dict[str, str]:
        schema = self._program.object("schema_version")
        found = {"schema": f"{schema.integer('major')}.{schema.integer('minor')}"}
        if self._program.has("torch_version"):
            found = {"torch": shortened(self._program.text("torch_version")), **found}
        return found

    def _user_tensors(self, specs: str, kind: str) -> Iterator[TensorFacts]:
        """Yield the tensors that the program takes, or returns."""
        for said in self._signature.objects(specs):
            if said.choice() == kind and said.object(kind).object("arg").choice() == "as_tensor":
                name = said.object(kind).object("arg").object("as_tensor").text("name")
                yield self._tensor(name, name)

    def _held(self, kinds: Iterable[str]) -> Iterator[TensorFacts]:
        """Yield the weights, or constants, of some kinds."""
        names = {kind: WEIGHT_NAMES[kind] for kind in kinds}
        for said in self._signature.objects("input_specs"):
            if (kind := said.choice()) in names:
                inside = said.object(kind)
                yield self._tensor(inside.text(names[kind]), inside.object("arg").text("name"))

    def _tensor(self, name: str, short: str) -> TensorFacts:
        meta = self._metas.object(short)
        return TensorFacts(
            shortened(name), type_word(dtype_of(meta, "dtype")), tuple(map(self._size, meta.objects("sizes")))
        )

    def _size(self, said: JsonObject) -> int | str:
        if said.choice() == "as_int":
            return said.integer("as_int")
        symbol = symbol_of(said.object("as_expr").text("expr_str"))
        if symbol is None:
            return "an expression"
        count = len(self._words)
        return self._words.setdefault(symbol, _WORDS[count] if count < len(_WORDS) else symbol)


def _name_of(target: str) -> str:
    return shortened(target.removeprefix("torch.ops."))


def _is_refused(target: str) -> bool:
    try:
        return target not in SIZE_FUNCTIONS and find_operator(target) is None
    except AttributeError:
        return True
