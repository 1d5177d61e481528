# SPDX-License-Identifier: LGPL-2.1-or-later
"""Models that are written with the parameters that they have."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from models import script_bytes
from opening import compute, open_model, parameter_text
from test_parameters import CLUSTER, Pair1, by_name, chosen, set_values

from kim_torchml.driver import open_model as open_by_driver
from kim_torchml.errors import DriverError


def written_script(model, folder: Path) -> bytes:
    model.write(str(folder))
    return (folder / "model.pt").read_bytes()


def test_the_changed_model_is_written_bit_for_bit(opened, tmp_path):
    model = opened(script_bytes(Pair1))
    set_values(model, "decay", 1.23456789012345)
    folder = tmp_path / "written"
    folder.mkdir()
    assert model.write(str(folder)) == ["kim.param", "model.pt"]
    assert (folder / "kim.param").read_text() == parameter_text()
    again = open_by_driver(str(folder), ["kim.param", "model.pt"])
    again.prepare()
    assert by_name(again)["decay"].values.tolist() == [1.23456789012345]
    expected = compute(model, CLUSTER)
    for name, array in compute(again, CLUSTER).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_a_choice_survives_writing(opened, tmp_path):
    model = opened(chosen({"layers.1.bias": "shift"}))
    set_values(model, "layers_1_bias", 0.25)
    again = open_model(tmp_path / "again", written_script(model, tmp_path))
    assert list(by_name(again)) == ["n_elements", "layers_1_bias"]
    assert by_name(again)["layers_1_bias"].values.tolist() == [0.25]


def test_an_authors_own_files_survive_writing(opened, tmp_path):
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(Pair1()), buffer, _extra_files={"meta.json": b'{"made": "by hand"}'})
    model = opened(buffer.getvalue())
    set_values(model, "decay", 1.9)
    found = {"meta.json": ""}
    torch.jit.load(io.BytesIO(written_script(model, tmp_path)), _extra_files=found)
    assert found == {"meta.json": b'{"made": "by hand"}'}


def test_an_unchanged_model_is_written_byte_for_byte(opened, tmp_path):
    model = opened(script_bytes(Pair1))
    assert written_script(model, tmp_path) == script_bytes(Pair1)


def test_a_folder_that_cannot_be_written(opened, tmp_path):
    model = opened(script_bytes(Pair1))
    with pytest.raises(DriverError, match=r"^cannot write the model's file kim\.param: .*; choose another folder$"):
        model.write(str(tmp_path / "missing"))
