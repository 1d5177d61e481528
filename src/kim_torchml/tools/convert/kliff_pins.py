# SPDX-License-Identifier: LGPL-2.1-or-later
"""Exact versions of an environment that has KLIFF, with which its own energies are computed in tests.

Converting needs none of it.
"""

from kim_torchml.tools.convert.family import Isolation
from kim_torchml.tools.convert.pins import COMMAND, TORCH, TORCH_ON_GPUS

REFERENCE = Isolation(
    pinned=(
        *TORCH,
        *(each for each in COMMAND if not each.startswith("numpy==")),
        # KLIFF asks for these two to be so old.
        *("numpy==1.26.4", "ase==3.22.1", "certifi==2026.10.19.post1", "charset-normalizer==3.5.3"),
        *("contourpy==1.3.3", "cycler==0.12.1", "fonttools==4.68.0", "idna==3.20", "kiwisolver==1.5.1"),
        *("libdescriptor==0.2.3", "loguru==0.7.3", "matplotlib==3.11.2", "monty==2026.10.21", "packaging==26.4"),
        *("pillow==13.0.0", "protobuf==7.36.2", "psutil==7.2.2", "pyparsing==3.3.3", "python-dateutil==4.0.0"),
        *("pyyaml==6.0.4", "requests==2.34.2", "ruamel-yaml==0.19.1", "scipy==1.17.1", "tqdm==4.70.1"),
        *("urllib3==2.8.0", "xxhash==4.1.0"),
    ),
    # All but kliff ask for what fetches files, too.
    alone=(
        *("kliff==1.0.1", "pytorch-lightning==2.5.5", "torchmetrics==1.9.0", "lightning-utilities==0.15.3"),
        *("torch-geometric==2.8.1", "tensorboardx==2.6.5"),
    ),
    if_needed=TORCH_ON_GPUS,
    # It is published as source alone.
    from_source=("kliff",),
    pythons=((3, 11), (3, 12)),
)
