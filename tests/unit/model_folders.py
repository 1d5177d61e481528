# SPDX-License-Identifier: LGPL-2.1-or-later
"""Folders of models as their authors hand them out, and libraries of installed models as KIM compiles them."""

import base64
import subprocess

from models import Edges1, PairTotal, script_bytes
from opening import parameter_text, toml_text

CMAKE_LISTS = """\
cmake_minimum_required(VERSION 3.10)
list(APPEND CMAKE_PREFIX_PATH $ENV{{KIM_API_CMAKE_PREFIX_DIR}})
find_package(KIM-API-ITEMS 2.2 REQUIRED CONFIG)
kim_api_items_setup_before_project(ITEM_TYPE "portableModel")
project({name})
kim_api_items_setup_after_project(ITEM_TYPE "portableModel")
add_kim_api_model_library(
  NAME            ${{PROJECT_NAME}}
  DRIVER_NAME     "{driver}"
  PARAMETER_FILES {files}
  )
"""
DRIVER = "TorchMLModelDriver"


def cmake_lists(name="My_Model", driver=DRIVER, files=("model.toml", "model.pt")):
    """Return the text of a model's CMakeLists.txt."""
    return CMAKE_LISTS.format(name=name, driver=driver, files=" ".join(f'"{each}"' for each in files))


def write_folder(folder, contents, name="My_Model", driver=DRIVER):
    """Write a model's folder."""
    folder.mkdir(parents=True)
    (folder / "CMakeLists.txt").write_text(cmake_lists(name, driver, contents))
    for file_name, content in contents.items():
        (folder / file_name).write_bytes(content)
    return folder


def edges_files(**changes):
    """Return the files of a model of the kind edges, in format 2; see toml_text for changes."""
    script = script_bytes(Edges1)
    return {"model.toml": toml_text(script, **changes).encode(), "model.pt": script}


def raw_files():
    """Return the files of a model of the kind None, in format 1."""
    return {"file.param": parameter_text().encode(), "model.pt": script_bytes(PairTotal)}


def compile_library(path, name, contents, driver=DRIVER, encode=False, version=b"2.3.0-git\n", schema=2):
    """Compile the library of an installed model.

    Args:
        path: Where to.
        name: KIM id of the model.
        contents: Its parameter files.
        driver: KIM id of its driver.
        encode: Whether files are kept in base64, as KIM-API 2.4 does.
        version: Content of the file that gives KIM-API's version.
        schema: Number of the layout.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    source = path.with_suffix(".c")
    metadata = {"item-compiled-with-version.txt": version}
    source.write_text(
        f"""
struct file {{ const char *name; unsigned int length; const unsigned char *content; }};
{_files("parameters", contents, encode)}
{_files("metadata", metadata, encode)}
int kim_shared_library_schema_version = {schema};
struct {{
    int type; const char *name; struct {{ int id; }} language; void (*create)(void); const char *driver;
    const struct file *simulator_model;
    int n_parameters; const struct file *parameters;
    int n_metadata; const struct file *metadata;
}} kim_shared_library_schema = {{
    2, "{name}", {{ 1 }}, 0, "{driver}", 0, {len(contents)}, parameters, {len(metadata)}, metadata
}};
"""
    )
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(path)], check=True)
    source.unlink()
    return path


def _files(array, contents, encode):
    encoded = {name: base64.b64encode(content) if encode else content for name, content in contents.items()}
    data = [
        f"static const unsigned char {array}_{index}[] = {{ {', '.join(map(str, content)) or '0'} }};"
        for index, content in enumerate(encoded.values())
    ]
    rows = [f'{{ "{name}", {len(content)}, {array}_{index} }}' for index, (name, content) in enumerate(encoded.items())]
    return "\n".join([*data, f"static const struct file {array}[] = {{ {', '.join(rows) or '{ 0, 0, 0 }'} }};"])
