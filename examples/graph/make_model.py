# SPDX-License-Identifier: LGPL-2.1-or-later
"""Train the example model `TorchML_Graph_Si` on KIM's Stillinger-Weber silicon and save it.

Usage: python examples/graph/make_model.py [--output FOLDER] [--plot FILE] [--seed N] [--epochs N]

The same seed gives the same weights and errors, and with PYTHONHASHSEED=0 the same file bit by bit.
"""

import re
import sys
import zipfile
from pathlib import Path

import torch
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from fitting import parse_options
from reference import save_script
from report import plot_parity, print_errors

HERE = Path(__file__).resolve().parent
MODEL_FILE = "graph.pt"
PARAMETER_FILE = "graph.param"
CUTOFF = 3.8  # Å, just beyond the 3.77118 Å of the potential that the network learns
N_EPOCHS = 60

PARAMETER_FILE_TEXT = """\
# Number of elements, then their symbols
1
Si

# Preprocessing
Graph

# Cutoff in Angstrom, then the number of layers (influence distance = cutoff x layers)
{cutoff!r}
{n_layers}

# Model file
{model_file}

# Does the model return forces
false

# Number of inputs: species, coordinates, one edge index per layer, mask
{n_inputs}

# Descriptor
None
"""


def main() -> None:
    """Train, save, and print the errors on structures that the network never saw."""
    options = parse_options(__doc__.splitlines()[0], HERE, N_EPOCHS)
    hide_optional_packages()
    # This imports torch_geometric, which looks for the packages that have just been hidden.
    from training import make_network

    torch.set_num_threads(options.threads)
    torch.set_default_dtype(torch.float64)
    console = Console()
    network, evaluations = make_network(CUTOFF, options.seed, options.epochs, console)
    save(network, len(network.convolutions), options.output)
    console.print(f"wrote {options.output / MODEL_FILE} and {options.output / PARAMETER_FILE}")
    print_errors(evaluations, console)
    plot_parity(evaluations, options.plot)
    console.print(f"wrote {options.plot}")


def hide_optional_packages() -> None:
    """Make `import torch_scatter` and `import torch_sparse` fail from now on.

    Where torch_geometric finds these packages, the scripted module names their operators, even if it
    never calls them, and can then not be loaded without them.

    Raises:
        RuntimeError: If torch_geometric was imported before.
    """
    if "torch_geometric" in sys.modules:
        raise RuntimeError("`torch_geometric` must not be imported before this call")
    for package in ("torch_scatter", "torch_sparse"):
        sys.modules[package] = None  # type: ignore[assignment]


def save(network: torch.nn.Module, n_layers: int, folder: Path) -> None:
    """Write the scripted network and its parameter file.

    Args:
        network: The trained network.
        n_layers: Number of edge indices that it takes.
        folder: Folder for the two files; it is made if it does not exist.
    Raises:
        RuntimeError: If the file would not load without torch_scatter or torch_sparse.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_script(network, folder / MODEL_FILE)
    operators = optional_operators(folder / MODEL_FILE)
    if operators:
        raise RuntimeError(
            f"{folder / MODEL_FILE} must name no operator of torch_scatter or torch_sparse, found "
            f"{', '.join(operators)}; script it where neither package can be imported"
        )
    text = PARAMETER_FILE_TEXT.format(cutoff=CUTOFF, n_layers=n_layers, model_file=MODEL_FILE, n_inputs=n_layers + 3)
    (folder / PARAMETER_FILE).write_text(text, encoding="utf-8")


def optional_operators(path: Path) -> list[str]:
    """Return the operators of torch_scatter and torch_sparse that a TorchScript file names.

    Args:
        path: The `.pt` file.
    Returns:
        Names such as `torch_sparse.ptr2ind`, sorted.
    """
    with zipfile.ZipFile(path) as archive:
        code = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".py")]
    # Error messages of torch_geometric also name classes of torch_sparse. Only operators follow `ops.`.
    named = re.findall(r"\bops\.(torch_(?:scatter|sparse)\.\w+)", "\n".join(code))
    return sorted(set(named))


if __name__ == "__main__":
    main()
