# SPDX-License-Identifier: LGPL-2.1-or-later
"""Wheels and source archives of a few lines, which pip takes as it takes all others."""

import io
import tarfile
import zipfile


def write_wheel(folder, name, version, files):
    """Write a wheel.

    Args:
        folder: Folder for it.
        name: Name of the package.
        version: Its version.
        files: Texts of its files, by their paths below site-packages.
    """
    information = f"{name}-{version}.dist-info"
    texts = {
        **files,
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{information}/RECORD"
    texts[record] = "".join(f"{path},,\n" for path in [*texts, record])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in texts.items():
            archive.writestr(path, text)


def write_source_archive(folder, name, version, setup):
    """Write an archive of sources.

    Args:
        folder: Folder for it.
        name: Name of the package.
        version: Its version.
        setup: Text of its setup.py, which building it runs.
    """
    texts = {"PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "setup.py": setup}
    with tarfile.open(folder / f"{name}-{version}.tar.gz", "w:gz") as archive:
        for path, text in texts.items():
            member = tarfile.TarInfo(f"{name}-{version}/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
