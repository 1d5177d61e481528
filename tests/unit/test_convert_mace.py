# SPDX-License-Identifier: LGPL-2.1-or-later
"""What `kim-torchml convert mace` says of a file before it is read, and -lammps.pt files, without mace-torch."""

import pickle
import sys

import archives
import mace_files
import pytest
import torch
from click.testing import CliRunner
from fresh_python import run_python
from saving import left_in

from kim_torchml.errors import DriverError
from kim_torchml.model_files.model_toml import MODEL_TOML
from kim_torchml.tools.cli import main
from kim_torchml.tools.convert.family import Asked
from kim_torchml.tools.convert.mace import Mace
from kim_torchml.tools.convert.mace_model import index_of_head
from kim_torchml.tools.convert.mace_weights import PUBLISHED_MACE, published_as
from kim_torchml.tools.request_error import RequestError


def convert(source, output, *more):
    """Run the command."""
    return CliRunner().invoke(main, ["convert", "mace", str(source), "--output", str(output), "--name", "X", *more])


def look(source, **asked):
    return Mace().look(Asked(str(source), **asked))


def changed(path, changes):
    """Return a copy of a -lammps.pt in which entries have other contents; by the ends of their names."""
    entries = {}
    for name, content in archives.members(mace_files.lammps_file(path).read_bytes()).items():
        entries[name] = next((new for end, new in changes.items() if name.endswith(end)), content)
    path.write_bytes(archives.zip_of(entries.items()))
    return path


@pytest.mark.parametrize("names", [(mace_files.NETWORK,), (mace_files.NETWORK, "e3nn.o3.Linear")])
def test_a_pickle_is_not_read_without_trust(names, tmp_path):
    path = mace_files.pickle_of(tmp_path / "x.model", *names)
    assert look(path) == f"{path} is a pickle, as every .model is"
    result = convert(path, tmp_path / "out")
    assert result.exit_code == 2
    assert "nothing was unpickled: say --trust if you trust whoever made it" in result.output
    assert not (tmp_path / "out").exists()


def test_a_bomb_in_a_pickle_does_not_go_off(tmp_path):
    path = mace_files.pickle_of(tmp_path / "x.model", mace_files.NETWORK, held=[mace_files.Bomb(tmp_path / "boom")])
    result = convert(path, tmp_path / "out")
    assert result.exit_code == 2
    assert ".mkdir, which no network of MACE needs, and unpickling runs whatever code" in result.output
    assert not (tmp_path / "boom").exists()
    assert not (tmp_path / "out").exists()


def test_a_bomb_without_a_network_does_not_go_off_with_trust_either(tmp_path):
    path = mace_files.pickle_of(tmp_path / "x.model", held=[mace_files.Bomb(tmp_path / "boom")])
    result = convert(path, tmp_path / "out", "--trust")
    assert result.exit_code == 1
    assert "must be a network of MACE, got" in result.output
    assert not (tmp_path / "boom").exists()


@pytest.mark.skipif("mace" in sys.modules, reason="mace-torch is here")
def test_the_package_is_asked_for(tmp_path):
    result = convert(mace_files.pickle_of(tmp_path / "x.model", mace_files.NETWORK), tmp_path / "out", "--trust")
    assert result.exit_code == 1
    assert "needs mace-torch in the Python environment of this command" in result.output
    assert "say --isolated" in result.output


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mace.modules.models.EnergyDipolesMACE", "which needs charges, and gives dipoles"),
        ("mace.modules.models.AtomicDipolesMACE", "gives dipoles but no energy"),
        ("mace.modules.models.AtomicDielectricMACE", "polarisabilities but no energy"),
        ("mace.modules.extensions.MACELES", "long-range electrostatics of all atoms"),
        ("mace.modules.extensions.PolarMACE", "which needs charges, spin and the long-range electrostatics"),
        ("mace.modules.embeddings.GenericJointEmbedding", "such as total charge and spin"),
        ("mace.modules.radial.ChebychevBasis", "of which torch has no derivative: forces are wrong in mace-torch"),
        ("mace.modules.lora.LoRAO3Linear", "a network with LoRA adapters; merge them"),
        ("cuequivariance_torch.Linear", "run `mace_cueq_to_e3nn .* --output_model x-e3nn.model` where"),
        ("openequivariance.TensorProduct", "run `python -m mace.cli.convert_oeq_e3nn .* where openequivariance is"),
        ("mace.calculators.lammps_mliap_mace.LAMMPS_MLIAP_MACE", "give the .model that it was made from, or its"),
        ("sevenn.nn.sequential.AtomGraphSequential", "a network of another family"),
    ],
)
def test_what_cannot_be_converted_is_named(name, said, tmp_path):
    path = mace_files.pickle_of(tmp_path / "x.model", mace_files.NETWORK, name)
    with pytest.raises(DriverError, match=said):
        look(path, trusts=True)


def test_a_network_of_a_fork(tmp_path):
    path = mace_files.pickle_of(tmp_path / "x.model", "mace.modules.models.FieldMACE")
    with pytest.raises(DriverError, match=r"of the class MACE or ScaleShiftMACE, got .* mace.modules.models.FieldMACE"):
        look(path)


def test_a_checkpoint_of_a_training_run(tmp_path):
    torch.save({"model": {"weight": torch.zeros(3, device="cpu")}, "optimizer": {}}, tmp_path / "run.pt")
    with pytest.raises(
        DriverError, match=r"a checkpoint of a training run .*; give the .model that mace_run_train has"
    ):
        look(tmp_path / "run.pt")


def test_damaged_files(tmp_path):
    whole = mace_files.pickle_of(tmp_path / "x.model", mace_files.NETWORK).read_bytes()
    (tmp_path / "x.model").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DriverError, match=r"is no archive of torch.save or is damaged .*; fetch it again"):
        look(tmp_path / "x.model")
    whole = mace_files.lammps_file(tmp_path / "x-lammps.pt").read_bytes()
    (tmp_path / "x-lammps.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DriverError, match=r"is no archive of torch.save or is damaged .*; fetch it again"):
        look(tmp_path / "x-lammps.pt")
    place = archives.place_of(whole, next(each for each in archives.members(whole) if each.endswith("lammps_mace.py")))
    (tmp_path / "x-lammps.pt").write_bytes(whole[:place] + b"#" + whole[place + 1 :])
    with pytest.raises(DriverError, match=r"the model file .* is damaged: .*; copy it again"):
        look(tmp_path / "x-lammps.pt")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("medium", "medium is in no wheel: fetch the file 2023-12-03-mace-128-L1_epoch-199.model from the release "
                   "mace_mp_0 of github.com/ACEsuit/mace-foundations, licence MIT; then run `kim-torchml convert mace "
                   "2023-12-03-mace-128-L1_epoch-199.model --trust` with the same options"),
        ("off-small", "fetch the file MACE-OFF23_small.model from the folder mace_off23 of .*, licence ASL"),
        ("mh-1", "fetch the file mace-mh-1.model from the release mace_mh_1 of .*, licence ASL"),
        ("polar-1-m", "MACE-POLAR-1-M needs charges, spin and the electrostatics of all atoms beside"),
        ("omol-extra_large", "MACE-OMOL-0 needs the total charge and spin beside species and edges"),
        ("medum", r"must be the file of a network of MACE or one of small, .*; did you mean 'medium'\?"),
        ("my.model", "got 'my.model', which is not there; correct the path"),
    ],
)  # fmt: skip
def test_names(name, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match=said):
        look(name)


def test_published_files_are_known_by_their_names(tmp_path):
    for each in PUBLISHED_MACE.values():
        assert published_as(tmp_path / each.file) is each
    assert published_as(tmp_path / "20231203mace128L1_epoch199model") is PUBLISHED_MACE["medium"]
    assert published_as(tmp_path / "my.model") is None


@pytest.mark.parametrize(
    ("heads", "head", "said"),
    [
        (["pbe", "r2scan"], None, "must say which of the network's heads is meant: pbe, r2scan; got none"),
        (["pbe", "r2scan"], "r2scam", r"must be one of pbe, r2scan, got 'r2scam'; did you mean 'r2scan'\?"),
        (["Default"], "pbe", "must be one of Default, got 'pbe'"),
        ([], "pbe", "must be left out for a network without named heads, got 'pbe'"),
    ],
)
def test_heads_that_are_not_there(heads, head, said):
    with pytest.raises(RequestError, match=said):
        index_of_head(heads, head)


def test_heads():
    assert index_of_head(["pbe", "r2scan"], "r2scan") == 1
    assert index_of_head(["Default"], None) == index_of_head(["Default"], "Default") == index_of_head([], None) == 0


def test_modalities_are_of_another_family(tmp_path):
    with pytest.raises(RequestError, match="`--modal` is for networks of SevenNet, got 'PBE'; MACE's have heads"):
        look(tmp_path / "x.model", modal="PBE")


def test_a_file_for_lammps_needs_no_package_of_mace(tmp_path):
    path = mace_files.lammps_file(tmp_path / "nacl-lammps.pt")
    assert look(path) == ""
    assert Mace().needs(Asked(str(path))) == ()
    result = convert(path, tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "itself gives when it is called as `pair_style mace` calls it, in float64, images folded" in result.output
    assert "| compound (NaCl)" in result.output
    assert 'file = "model.pt"' in (tmp_path / "out" / MODEL_TOML).read_text()


def test_a_file_for_lammps_needs_ase(tmp_path):
    """It is compared with the help of that, which torch does not bring."""
    path = mace_files.lammps_file(tmp_path / "nacl-lammps.pt")
    code = """
        import sys
        sys.modules["ase"] = None
        from click.testing import CliRunner
        from kim_torchml.tools.cli import main
        words = ["convert", "mace", sys.argv[1], "--output", sys.argv[2], "--name", "X"]
        print(CliRunner().invoke(main, words).output)
    """
    said = run_python(code, arguments=[path, tmp_path / "x"])
    assert said.startswith("Error: converting a source of MACE needs ase in the Python environment of this command")
    assert "say --isolated for a temporary environment, or run kim-torchml in one of its own that has ase==" in said
    assert left_in(tmp_path) == ["nacl-lammps.pt"]


def test_a_file_that_is_known_by_its_name_says_so(tmp_path):
    path = mace_files.lammps_file(tmp_path / "mace-mp-0b3-medium.model-lammps.pt")
    result = convert(path, tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "the file is taken for MACE-MP-0b3 medium by its name: if it is another network, correct" in result.output


@pytest.mark.parametrize(
    ("head", "said"),
    [(None, "head: r2scan, the one of several"), ("r2scan", "head: r2scan"), ("pbe", "`--head` must be 'r2scan', wh")],
)
def test_the_head_of_a_file_for_lammps_was_chosen_when_it_was_made(head, said, tmp_path):
    path = mace_files.lammps_file(tmp_path / "nacl-lammps.pt", heads=("pbe", "r2scan"), head=1)
    result = convert(path, tmp_path / "out", *(() if head is None else ("--head", head)))
    assert result.exit_code == (2 if head == "pbe" else 0), result.output
    assert said in result.output
    assert (tmp_path / "out").exists() == (head != "pbe")


def test_a_file_for_lammps_is_no_program_of_torch_export(tmp_path):
    with pytest.raises(RequestError, match=r"`--format` must be pt for .*, which is TorchScript already, got 'pt2'"):
        look(mace_files.lammps_file(tmp_path / "x-lammps.pt"), file_format="pt2")


def test_torchscript_of_something_else(tmp_path):
    torch.jit.script(torch.nn.Linear(1, 1, device="cpu")).save(str(tmp_path / "other.pt"))
    with pytest.raises(DriverError, match=r"got .*other.pt, TorchScript of none"):
        look(tmp_path / "other.pt")
    torch.jit.script(mace_files.PairNetwork(1, ["a"])).save(str(tmp_path / "x_compiled.model"))
    with pytest.raises(DriverError, match="TorchScript of a network of MACE that is not made for LAMMPS"):
        look(tmp_path / "x_compiled.model")


@pytest.mark.parametrize("entry", ["/data.pkl", "/constants.pkl"])
def test_a_bomb_in_torchscript_does_not_go_off(entry, tmp_path):
    bomb = pickle.dumps(mace_files.Bomb(tmp_path / "boom"), protocol=2)
    result = convert(changed(tmp_path / "x-lammps.pt", {entry: bomb}), tmp_path / "out", "--trust")
    assert result.exit_code == 1
    assert "cannot load the model file" in result.output
    assert not (tmp_path / "boom").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ops.image.read_file('x')", "uses the operator image::read_file"),
        ("torch.save([], 'boom')", "uses the operator aten::save, which touches files"),
    ],
)
def test_code_in_torchscript_that_is_not_allowed(line, said, tmp_path):
    path = mace_files.lammps_file(tmp_path / "x-lammps.pt")
    code = next(
        content for name, content in archives.members(path.read_bytes()).items() if name.endswith("lammps_mace.py")
    ).decode()
    place = code.index("    head = self.head")
    changed(path, {"lammps_mace.py": f"{code[:place]}    _9 = {line}\n{code[place:]}".encode()})
    with pytest.raises(DriverError, match=said):
        look(path)


def test_files_beside_a_network_stay_behind(tmp_path):
    bomb = pickle.dumps(mace_files.Bomb(tmp_path / "boom"))
    path = tmp_path / "x-lammps.pt"
    torch.jit.save(torch.jit.script(mace_files.LAMMPS_MACE()), str(path), _extra_files={"data.pkl": bomb})
    result = convert(path, tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "boom").exists()
    assert not any("extra/" in name for name in archives.members((tmp_path / "out" / "model.pt").read_bytes()))
