# SPDX-License-Identifier: LGPL-2.1-or-later
"""Exact versions that the environments of several families are made of; they were made and tried together."""

# torch, with what it asks for on every machine.
TORCH = (
    *("torch==2.13.0", "filelock==4.3.1", "fsspec==2026.9.0", "jinja2==3.1.6", "markupsafe==3.0.4", "mpmath==1.3.0"),
    *("networkx==3.6.1", "setuptools==84.2.1", "sympy==1.14.0", "typing-extensions==4.16.0"),
)
# What torch asks for besides where its build is one for GPUs, not always by exact versions.
TORCH_ON_GPUS = (
    *("cuda-bindings==13.5.0", "cuda-pathfinder==1.9.1", "cuda-toolkit==13.0.3.0", "nvidia-cublas==13.1.1.3"),
    *("nvidia-cuda-cupti==13.0.85", "nvidia-cuda-nvrtc==13.0.88", "nvidia-cuda-runtime==13.0.96"),
    *("nvidia-cudnn-cu13==9.20.0.48", "nvidia-cufft==12.0.0.61", "nvidia-cufile==1.15.1.6"),
    *("nvidia-curand==10.4.0.35", "nvidia-cusolver==12.0.4.66", "nvidia-cusparse==12.6.3.3"),
    *("nvidia-cusparselt-cu13==0.8.1", "nvidia-nccl-cu13==2.29.7", "nvidia-nvjitlink==13.5.37"),
    *("nvidia-nvshmem-cu13==3.4.5", "nvidia-nvtx==13.0.85", "triton==3.7.1"),
)
# What this package's command needs beside torch.
COMMAND = (
    *("click==8.5.1", "markdown-it-py==4.3.0", "mdurl==0.1.2", "numpy==2.4.6", "pygments==2.21.0", "rich==15.0.0"),
)
# e3nn's needs, and those of ASE as far as calculators go.
E3NN = ("opt-einsum==3.4.0", "opt-einsum-fx==0.1.4", "packaging==26.4", "scipy==1.17.1")
ASE = "ase==3.29.0"
