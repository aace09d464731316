"""Pickles that would do harm, and checkpoints of 2012 that fit nothing: nothing in them is executed, each is one sentence."""

import io
import pickle

import numpy as np
import pytest

import alexnet
from alexnet.errors import Refused
from alexnet.exchange import pickled
from tests.python2 import RANDOM, checkpoint, matrix, net145, stored


def hostile(folder):
    """Name -> a pickle that would make a folder if anything in it ran."""
    target = str(folder / "done").encode()
    make = b"(U" + bytes([len(target)]) + target + b"t"
    ndarray = b"cnumpy\nndarray\n"
    return {
        "reduce": b"\x80\x02cos\nmkdir\n" + make + b"R.",
        "posix": b"\x80\x02cposix\nmkdir\n" + make + b"R.",
        "inst": b"(U" + bytes([len(target)]) + target + b"ios\nmkdir\n.",
        "builtin": b"\x80\x02c__builtin__\neval\n(U\x08__import__tR.",
        "getattr": b"\x80\x02c__builtin__\ngetattr\n(" + ndarray + b"U\x06tofiletR.",
        "numpy": b"\x80\x02cnumpy\nload\n" + make + b"R.",
        "multiarray": b"\x80\x02cnumpy.core.multiarray\nfromfile\n" + make + b"R.",
        "build a name": b"\x80\x02cnumpy\ndtype\n}U\x05_makecos\nmkdir\nsb.",
        "set on a name": b"\x80\x02cnumpy\ndtype\n(N}U\x05_makeU\x01xstb.",
        "stack global": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93" + make + b"R.",
        "dotted": b"\x80\x04\x8c\x05numpy\x8c\x0cos.makedirs0\x93" + make + b"R.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent": b"Pnoisy\n.",
        "copy_reg": b"\x80\x02ccopy_reg\n_reconstructor\n(cos\nmkdir\nc__builtin__\nobject\nNtR.",
        "program's module": b"\x80\x02coptions\nos\n" + make + b"R.",  # a blank: read, nothing happens, no layers
        "asks for much": b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b".",
        "cut off": b"\x80\x02}q\x00U",
        "nothing": b"\x80\x02N.",
        "not filled": b"\x80\x02}U\x0bmodel_state}U\x06layers](}(U\x04nameU\x01cU\x04typeU\x02fcU\x06inputs](U\x01deU\x07weights]"
        b"cnumpy.core.multiarray\n_reconstruct\n(" + ndarray + b"K\0\x85U\x01btRaU\x06biasesK\x01u}(U\x04nameU\x01dU\x04type"
        b"U\x04dataU\x07outputsK\x03uess.",
    }


def test_hostile_pickles_execute_nothing(tmp_path):
    for name, content in hostile(tmp_path).items():
        file = tmp_path / "90.1"
        file.write_bytes(content)
        with pytest.raises(
            Refused, match="nothing in it was executed|no checkpoint|no whole checkpoint|begun and never|fits no row"
        ):
            alexnet.convert(str(file), str(tmp_path / "no.safetensors"), from_="original")
        assert not (tmp_path / "done").exists(), name
    assert not (tmp_path / "no.safetensors").exists()
    assert pickle.loads(hostile(tmp_path)["reduce"]) is None and (tmp_path / "done").exists()  # the attack is a real one


def test_a_name_keeps_its_meaning_for_the_next_file(tmp_path):
    """What one file does to the names it may use is gone with it."""
    file = tmp_path / "1.1"
    file.write_bytes(b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(N}U\x05_makeNstb.")
    with pytest.raises(Refused):
        pickled.load(file)
    array = RANDOM.normal(size=(3, 4)).astype(">f8")
    stored({"a": array, "n": [1, 2.5, None, (True,)], "f": np.asfortranarray(array)}, file)
    found = pickled.load(file)
    np.testing.assert_array_equal(found[b"a"].array(), array)
    np.testing.assert_array_equal(found[b"f"].array(), array)
    assert found[b"n"] == [1, 2.5, None, (True,)]


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda layers: layers.pop("conv4b"), "inputs that are not there"),
        (lambda layers: layers["conv2a"].update(weights=[matrix(201, 8)]), r"conv2a has a matrix of 201 rows"),
        (lambda layers: layers["fc2048bb"]["weights"].pop(), "fc2048bb has 1 matrices for 2 inputs"),
        (lambda layers: layers["conv5a"].pop("biases"), "no whole checkpoint .* KeyError"),
        (lambda layers: layers["conv4b"].update(biases=matrix(3, 1)), "conv4b has 3 biases for 12 maps"),
        (lambda layers: layers["rnorm1b"].update(minDiv=1.0), "its columns are not alike"),
        (
            lambda layers: [layers[f"rnorm1{c}"].update(minDiv=1.5) for c in "ab"],
            r"agrees for 1 steps, then the file has \(cmrnorm 5 2e-05 0.75 1.5\)",
        ),
        (lambda layers: layers["conv3a"].update(groups=[2, 2]), "conv3a is connected in groups"),
        (lambda layers: layers["conv4a"].update(inputs=["conv3b_neuron"]), "not fed by what conv4 of the row as_run sees"),
        (lambda layers: layers["fc1000"].update(weights=[matrix(10, 5, "F"), matrix(10, 6, "F")]), "no whole checkpoint"),
        (lambda layers: layers["conv1a"].update(inputs=["probs"]), "itself among them"),
        (
            lambda layers: layers["fc2048a"].update(weights=[np.zeros((32, 10), np.complex64)] * 2),
            "of kind 'c8'; numbers are accepted",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence(change, said, tmp_path):
    layers = net145()
    change(layers)
    for one in layers.values():
        one.pop("inputLayers", None)
    stored(checkpoint(layers), tmp_path / "1.1")
    with pytest.raises(Refused, match=said):
        alexnet.convert(str(tmp_path / "1.1"), str(tmp_path / "no.safetensors"))


def test_numbers_and_ordered_dictionaries_are_plain(tmp_path):
    file = io.BytesIO()
    file.write(
        b"\x80\x02ccollections\nOrderedDict\n](](U\x01aK\x01e](U\x01bcnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x02i4K\0K\x01tR"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tbU\x04\x07\0\0\0tRee\x85R."
    )
    (tmp_path / "1.1").write_bytes(file.getvalue())
    assert pickled.load(tmp_path / "1.1") == {b"a": 1, b"b": 7}
