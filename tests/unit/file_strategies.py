# SPDX-License-Identifier: LGPL-2.1-or-later
"""Strategies of hypothesis: parameter files and descriptor files, laid out in any allowed way, with their values."""

from dataclasses import dataclass

from hypothesis import strategies as st

from kim_torchml.model_files.elements import SYMBOLS

whole = st.integers
# Python's splitlines breaks lines at some of these characters. Editors do not, and a reader must not either.
COMMENT = st.text(st.sampled_from("ab 1#é٣\x0b\x0c\x1c\x85\u2028\u2029\ufeff\t"), max_size=8)


@dataclass(frozen=True)
class ParameterValues:
    """The values in a parameter file."""

    elements: tuple[str, ...]
    preprocessing: str
    cutoff: str
    n_layers: int
    model_file: str
    returns_forces: bool
    descriptor: str

    def lines(self):
        """Return the lines of the file, one for each value."""
        is_graph = self.preprocessing == "Graph"
        n_inputs = {"None": 5, "Descriptor": 1, "Graph": 3 + self.n_layers}[self.preprocessing]
        layers = [str(self.n_layers)] if is_graph else []
        numbers = [str(len(self.elements)), " ".join(self.elements), self.preprocessing, self.cutoff, *layers]
        return [*numbers, self.model_file, str(self.returns_forces).lower(), str(n_inputs), self.descriptor]


@dataclass(frozen=True)
class DescriptorValues:
    """The values in a descriptor's file.

    Attributes:
        name: name of the descriptor.
        lines: lines of the file.
        n_loose: number of lines at the beginning that comments and blank lines may stand between.
        species: species in the parameter file.
        cutoff: cutoff in the parameter file, Å.
        expected: attributes that the descriptor's parameters must have.
    """

    name: str
    lines: list
    n_loose: int
    species: tuple[str, ...]
    cutoff: float
    expected: dict


def decimals(smallest, largest):
    """Return a strategy of numbers as people and programs write them."""
    ways = st.sampled_from(["{!r}", "{:.8e}", "{:+.3f}", "{:.2E}"])
    return st.builds(lambda way, x: way.format(x), ways, st.floats(smallest, largest)).filter(
        lambda text: smallest <= float(text) <= largest
    )


def any_case(word):
    return st.sampled_from([word, word.lower(), word.upper()])


ELEMENTS = st.lists(st.sampled_from(SYMBOLS), min_size=1, max_size=3, unique=True).map(tuple)
FILE_NAMES = (
    st.text(st.sampled_from("abZ09._-# é"), min_size=1, max_size=12)
    .map(lambda stem: f"m{stem}.pt")
    .filter(lambda name: " #" not in name)
)


@st.composite
def parameter_values(draw):
    kind = draw(st.sampled_from(["None", "Descriptor", "Graph"]))
    return ParameterValues(
        draw(ELEMENTS),
        kind,
        draw(decimals(1e-3, 1e6)),
        draw(whole(1, 9)) if kind == "Graph" else 1,
        draw(FILE_NAMES),
        draw(st.booleans()),
        draw(st.sampled_from(["SymmetryFunctions", "soap", "Xi"])) if kind == "Descriptor" else "None",
    )


@st.composite
def layouts(draw):
    """Draw a function that writes lines as a file.

    It puts comments and blank lines between the first `n_loose` lines only.
    """
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    ways = draw(st.lists(whole(0, 6), min_size=1, max_size=8))
    comment = draw(COMMENT)
    start, end = draw(st.sampled_from(["", "\ufeff"])), draw(st.sampled_from(["", newline, newline * 3]))

    def write(lines, n_loose=None):
        n_loose = len(lines) if n_loose is None else n_loose
        written = []
        for number, line in enumerate(lines):
            way = ways[number % len(ways)] if number < n_loose else 0
            written += {3: [""], 4: [f"#{comment}"], 5: ["  ", f"\t# {comment}"]}.get(way, [])
            written.append({1: f" \t{line}", 2: f"{line} # {comment}", 6: f"{line}\t  "}.get(way, line))
        return start + newline.join(written) + end

    return write


@st.composite
def heads(draw, one_cutoff=False):
    """Draw the head of a file.

    Returns its lines, the species, the cutoffs by species codes, and the species codes in the file's order.
    """
    species = draw(ELEMENTS)
    codes = range(len(species))
    common = draw(decimals(0.5, 20.0))
    texts = {}
    for i in codes:
        for j in codes[i:]:
            texts[i, j] = texts[j, i] = common if one_cutoff else draw(st.one_of(st.just(common), decimals(0.5, 20.0)))
    both_orders = draw(st.booleans())
    pairs = [(i, j) for i in codes for j in codes if both_orders or i <= j]
    first, step = draw(whole(0, len(pairs) - 1)), draw(st.sampled_from([1, -1]))
    pairs = (pairs[first:] + pairs[:first])[::step]
    lines = [draw(any_case("cos")), str(len(species))]
    lines += [f"{species[i]} {species[j]}  {texts[i, j]}" for i, j in pairs]
    order = list(dict.fromkeys(code for pair in pairs for code in pair))
    return lines, species, tuple(tuple(float(texts[i, j]) for j in codes) for i in codes), order


NUMBER = decimals(-50.0, 50.0)
POSITIVE = decimals(1e-3, 50.0)
ETA = decimals(0.0, 50.0)
ANGULAR = (POSITIVE, NUMBER, ETA)
FAMILIES = {"g1": (), "g2": (ETA, NUMBER), "g3": (NUMBER,), "g4": ANGULAR, "g5": ANGULAR}


@st.composite
def symmetry_functions(draw):
    lines, species, cutoffs, _ = draw(heads())
    families = draw(st.lists(st.sampled_from(list(FAMILIES)), min_size=1, max_size=4))
    lines.append(str(len(families)))
    functions = []
    for family in families:
        n_rows = 1 if family == "g1" else draw(whole(1, 3))
        lines.append(f"{draw(any_case(family))} {n_rows} {len(FAMILIES[family])}")
        for _ in range(n_rows):
            row = [draw(number) for number in FAMILIES[family]]
            functions.append((family, tuple(map(float, row))))
            lines += ["  ".join(row)] if row else []
    expected = {"species": species, "cutoffs": cutoffs, "functions": tuple(functions)}
    return "SymmetryFunctions", lines, species, cutoffs, expected, len(functions)


@st.composite
def bispectra(draw):
    lines, species, cutoffs, order = draw(heads())
    twojmax, style = draw(whole(0, 6)), draw(whole(0, 3))
    rfac0, rmin0 = draw(POSITIVE), draw(decimals(-1.0, 0.4))
    flags = [draw(whole(0, 1)) for _ in range(2)]
    weights = [draw(NUMBER) for _ in species]
    lines += [str(twojmax / 2), rfac0, str(style), rmin0, *map(str, flags), " ".join(weights)]
    expected = {
        "twojmax": twojmax,
        "rfac0": float(rfac0),
        "rmin0": float(rmin0),
        "diagonalstyle": style,
        "switch_flag": flags[0],
        "bzero_flag": flags[1],
        "weights": tuple(float(weights[order.index(code)]) for code in range(len(species))),
        "cutoffs": cutoffs,
    }
    return "Bispectrum", lines, species, cutoffs, expected, None


@st.composite
def soaps(draw):
    lines, species, cutoffs, _ = draw(heads(one_cutoff=True))
    n_max, l_max, cutoff = draw(whole(1, 4)), draw(whole(0, 4)), cutoffs[0][0]
    eta = draw(decimals(0.05, 5.0))
    basis = draw(any_case("polynomial"))
    if draw(st.booleans()):
        lines += [str(n_max), str(l_max), repr(cutoff), basis, eta]
    else:
        symbols = " ".join(draw(st.permutations(species)))
        separator = draw(st.sampled_from([" ", "\n"]))
        lines = [str(n_max), str(l_max), repr(cutoff), eta, basis, *f"{len(species)}{separator}{symbols}".split("\n")]
    expected = {"n_max": n_max, "l_max": l_max, "cutoff": cutoff, "eta": float(eta), "species": species}
    n_pairs = len(species) * (len(species) + 1) // 2
    return "SOAP", lines, species, cutoffs, expected, n_pairs * n_max * (n_max + 1) // 2 * (l_max + 1)


@st.composite
def descriptor_values(draw, kinds):
    name, lines, species, cutoffs, expected, width = draw(kinds)
    n_loose = len(lines)
    normalises = width is not None and draw(st.booleans())
    if normalises:
        mean, deviation = draw(NUMBER), draw(POSITIVE)
        lines = [*lines, "center_and_normalize True", str(width)]
        n_loose = len(lines)
        lines += [*[mean] * draw(st.sampled_from([1, width])), "", *[deviation] * draw(st.sampled_from([1, width]))]
        is_trivial = float(mean) == 0.0 and float(deviation) == 1.0
        expected = expected | {"normalisation": None if is_trivial else (float(mean), float(deviation))}
    else:
        lines = [*lines, *draw(st.sampled_from([[], ["center_and_normalize False"], ["CENTER_AND_NORMALIZE 0"]]))]
        n_loose = len(lines)
        expected = expected | {"normalisation": None}
    return DescriptorValues(name, lines, n_loose, species, max(map(max, cutoffs)), expected)
