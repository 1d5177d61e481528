# SPDX-License-Identifier: LGPL-2.1-or-later
"""What checkpoints say of their networks, rightly and wrongly."""

import re

import pytest
import torch

from kim_torchml.errors import DriverError
from kim_torchml.tools.convert.network_checks import floating_type_of
from kim_torchml.tools.convert.sevennet_config import config_of, elements_of, modal_of


def content_of(**config):
    return {"config": {"_model_type": "E3_equivariant_model", **config}, "model_state_dict": {}}


@pytest.mark.parametrize("made_by", ["0.13.0", "0.13.2", "0.13", "0.9.1", "0.9.3.post1", "0.13.0.dev1"])
def test_checkpoints_of_this_version_and_of_older_ones(made_by, tmp_path):
    assert config_of(content_of(version=made_by), tmp_path, lambda: "0.13.0")["version"] == made_by


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("0.14.0", "was made by sevenn 0.14.0, and this is sevenn 0.13.0; install sevenn 0.14.0 or newer"),
        ("x", "must say by which version of sevenn it was made, got 'x'"),
        (None, "must say by which version of sevenn it was made, got 'None'"),
        ("9" * 5000 + ".1", "must say by which version of sevenn it was made, got '99999999999999999999'"),
    ],
)
def test_versions_that_cannot_be_read(version, said, tmp_path):
    with pytest.raises(DriverError, match=re.escape(said)):
        config_of(content_of(version=version), tmp_path, lambda: "0.13.0")


def test_elements_stand_in_the_order_of_their_codes():
    assert elements_of({"_type_map": {8: 1, 1: 0, 14: 2}}) == (1, 8, 14)


@pytest.mark.parametrize("codes", [{8: 0, 1: 1, 14: 3}, {8: 0, 1: 1, 14: 1}, {8: -1, 1: 0}, {8: 0, 1: 1.5}])
def test_codes_with_gaps_are_refused(codes):
    with pytest.raises(ValueError, match=r"must have the codes 0, 1, \.\., each once"):
        elements_of({"_type_map": codes})


def test_modalities_are_named():
    config = {"use_modality": True, "_modal_map": {"R2SCAN": 0, "PBE": 1}}
    assert modal_of(config, "pbe") == "PBE"
    assert modal_of({}, None) is None
    for modal, given, said in (
        (None, config, "which of the network's modalities is meant: R2SCAN, PBE; got none"),
        ("scan", config, "must be one of R2SCAN, PBE, got 'scan'"),
        ("pbe", {}, "must be left out for a network without modalities, got 'pbe'; leave it out"),
    ):
        with pytest.raises(Exception, match=re.escape(said)):
            modal_of(given, modal)


def test_modalities_that_differ_in_case_alone():
    config = {"use_modality": True, "_modal_map": {"PBE": 0, "pbe": 1}}
    assert modal_of(config, "pbe") == "pbe"


@pytest.mark.parametrize(
    ("types", "said"),
    [
        ([torch.float32, torch.float64], "got float32, float64; say --dtype"),
        ([torch.float16], "got float16; say --dtype"),
        ([torch.int64], "got none; say --dtype"),
    ],
)
def test_types_of_networks(types, said):
    def tensors(*of):
        return [torch.zeros(1, dtype=each, device="cpu") for each in of]

    assert floating_type_of(tensors(torch.int64, torch.float64)) is torch.float64
    with pytest.raises(DriverError, match=re.escape(said)):
        floating_type_of(tensors(*types))
