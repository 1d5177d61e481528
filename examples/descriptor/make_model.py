# SPDX-License-Identifier: LGPL-2.1-or-later
"""Train the example model `TorchML_Descriptor_Si` on KIM's Stillinger-Weber silicon and save it.

Usage: python examples/descriptor/make_model.py [--output FOLDER] [--plot FILE] [--seed N] [--epochs N]

The same seed gives the same weights and errors, and with PYTHONHASHSEED=0 the same files bit by bit.
"""

import sys
from pathlib import Path

import torch
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from descriptor_file import CUTOFF, descriptor_text
from fitting import parse_options
from network import SiliconNetwork
from reference import save_script
from report import plot_parity, print_errors
from training import make_network

from kim_torchml.descriptors import Normalisation

HERE = Path(__file__).resolve().parent
MODEL_FILE = "descriptor.pt"
DESCRIPTOR_FILE = "descriptor.dat"
PARAMETER_FILE = "descriptor.param"
N_EPOCHS = 120

PARAMETER_FILE_TEXT = """\
# Number of elements, then their symbols
1
Si

# Preprocessing
Descriptor

# Cutoff in Angstrom
{cutoff!r}

# Model file
{model_file}

# Does the model return forces
false

# Number of inputs: descriptors
1

# Descriptor
SymmetryFunctions
"""


def main() -> None:
    """Train, save, and print the errors on structures that the network never saw."""
    options = parse_options(__doc__.splitlines()[0], HERE, N_EPOCHS)
    torch.set_num_threads(options.threads)
    torch.set_default_dtype(torch.float64)
    console = Console()
    network, normalisation, evaluations = make_network(options.seed, options.epochs, console)
    save(network, normalisation, options.output)
    console.print(f"wrote {MODEL_FILE}, {DESCRIPTOR_FILE} and {PARAMETER_FILE} in {options.output}")
    print_errors(evaluations, console)
    plot_parity(evaluations, options.plot)
    console.print(f"wrote {options.plot}")


def save(network: SiliconNetwork, normalisation: Normalisation, folder: Path) -> None:
    """Write the scripted network, the descriptor's file and the parameter file.

    Args:
        network: The trained network.
        normalisation: Mean and standard deviation by which the driver normalises the descriptors for the network.
        folder: Folder for the three files; it is made if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_script(network, folder / MODEL_FILE)
    (folder / DESCRIPTOR_FILE).write_text(descriptor_text(normalisation), encoding="utf-8")
    text = PARAMETER_FILE_TEXT.format(cutoff=CUTOFF, model_file=MODEL_FILE)
    (folder / PARAMETER_FILE).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
