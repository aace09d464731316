"""Every row of the table as a module: forward, backward, names, initial values, saved = loaded. Narrow copies keep it fast."""

from dataclasses import replace

import pytest
import torch

from alexnet import nets, weights
from alexnet.nets import layers
from alexnet.net import AlexNet

ANATOMY = ["conv1", "norm1", "pool1", "conv2", "norm2", "pool2", "conv3", "conv4", "conv5", "pool5", "fc6", "fc7", "fc8", "prob"]


def narrow(row, share=16):
    """The same row with a sixteenth of the units."""
    def cut(layer):
        for field in ("maps", "units"):
            if value := getattr(layer, field, 0):
                return replace(layer, **{field: max(value // share, row.columns)})
        return layer

    return replace(row, layers=tuple(map(cut, row.layers)))


def pictures(row, count=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, row.crop, row.crop, generator=generator) * 60


@pytest.fixture(params=list(nets.ROWS))
def row(request):
    return narrow(nets.row(request.param))


def test_forward_backward_names_and_shapes(row):
    net = AlexNet(row, classes=7, seed=1)
    net.train()
    logits = net(pictures(row, 4))
    assert logits.shape == (4, 7)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 3])).backward()
    untouched = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not untouched
    net.eval()
    found = net.activations(pictures(row))
    expected = {s.layer.name: s.output for s in nets.shapes(row, 7)}
    assert list(found) == [*expected, "prob"]
    assert all(found[name].flatten(1).shape[1] == torch.Size(size).numel() for name, size in expected.items())
    torch.testing.assert_close(found["prob"], net(pictures(row)).softmax(1))
    assert sum(p.numel() for p in net.parameters()) == sum(s.parameters for s in nets.shapes(row, 7))


def test_saved_is_loaded(row, tmp_path):
    net = AlexNet(row, classes=3, seed=2)
    mean = torch.randn(3, row.crop, row.crop)
    card = weights.card(net, classes=[("a", "a"), ("b", "b"), ("c", "c")], size=row.sizes[1], centring="image")
    weights.write(tmp_path / "net.safetensors", net, mean, card)
    again, mean_again, card_again = weights.read(tmp_path / "net.safetensors")
    assert torch.equal(mean, mean_again) and card_again == card
    assert torch.equal(net.eval()(pictures(row)), again(pictures(row)))


def test_layout_in_memory_changes_nothing(row):
    net = AlexNet(row, classes=3, seed=3).eval().double()
    there = pictures(row).double()
    here = there.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(net(there), net.to(memory_format=torch.channels_last)(here), rtol=1e-9, atol=1e-12)


def test_published_rows_have_the_published_names():
    for name in ("paper", "as_run"):
        row = narrow(nets.row(name))
        found = AlexNet(row, classes=3, seed=0).eval().activations(pictures(row))
        assert [n for n in found if n != "wnorm2"] == ANATOMY


def test_as_run_is_linear_where_the_source_is():
    row = narrow(nets.AS_RUN)
    found = AlexNet(row, classes=3, seed=0).eval().activations(pictures(row))
    assert found["conv1"].min() < 0 and found["norm1"].min() < 0 and found["pool1"].min() >= 0
    assert found["pool5"].min() >= 0
    paper = AlexNet(narrow(nets.PAPER), classes=3, seed=0).eval().activations(pictures(row))
    assert paper["conv1"].min() >= 0


def test_the_picture_is_padded_right_and_below_only():
    """55 windows on 224: the last reads three rows of zeros beyond the edge, the first begins at the first pixel."""
    net = AlexNet("as_run", classes=2, seed=0)
    picture = torch.zeros(1, 3, 224, 224)
    picture[:, :, 0, 0] = 1.0
    out = net.conv1(picture)
    assert torch.allclose(out[0, :, 0, 0], net.conv1.weight[:, :, 0, 0].sum(1), atol=1e-6)
    assert out.shape[-1] == 55 and out[0, :, -1, -1].abs().max() == 0
    picture = torch.zeros(1, 3, 224, 224)
    picture[:, :, 223, 223] = 1.0
    assert torch.allclose(net.conv1(picture)[0, :, 54, 54], net.conv1.weight[:, :, 7, 7].sum(1), atol=1e-6)


def test_columns_do_not_see_each_other_before_conv3():
    row = narrow(nets.AS_RUN)
    net = AlexNet(row, classes=3, seed=0).eval()
    before = net.activations(pictures(row))
    with torch.no_grad():
        net.conv1.weight[3:] += 1.0  # the second column of six maps
    after = net.activations(pictures(row))
    half = {name: before[name].shape[1] // 2 for name in before}
    for name in ("conv1", "norm1", "pool1", "conv2", "norm2", "wnorm2", "pool2"):
        assert torch.equal(before[name][:, : half[name]], after[name][:, : half[name]]), name
        assert not torch.equal(before[name][:, half[name] :], after[name][:, half[name] :]), name
    assert not torch.equal(before["conv3"][:, : half["conv3"]], after["conv3"][:, : half["conv3"]])


def test_initial_values_are_the_rows():
    net = AlexNet("as_run", classes=10, seed=0)
    for layer in nets.AS_RUN.layers:
        if isinstance(layer, (layers.Conv, layers.Dense)):
            module = getattr(net, layer.name)
            assert module.weight.std().item() == pytest.approx(layer.std, rel=0.02)
            assert (module.bias == layer.bias).all()
    again = AlexNet("as_run", classes=10, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters()))


def test_single_tower_has_torchvisions_shapes():
    """features.0, 3, 6, 8, 10 and classifier.1, 4, 6 of torchvision's alexnet."""
    shapes = [tuple(p.shape) for p in AlexNet("single_tower", seed=0).parameters()]
    assert shapes[::2] == [(64, 3, 11, 11), (192, 64, 5, 5), (384, 192, 3, 3), (256, 384, 3, 3), (256, 256, 3, 3),
                           (4096, 9216), (4096, 4096), (1000, 4096)]


def test_dropout_is_drawn_by_key_and_scaled_by_convention():
    row = narrow(nets.PAPER, 4)
    net = AlexNet(row, classes=3, seed=0)
    net.train()
    net.draw(5)
    first, again = net.activations(pictures(row, 8)), net.activations(pictures(row, 8))
    assert torch.equal(first["fc7"], again["fc7"])
    net.draw(6)
    other = net.activations(pictures(row, 8))["fc6"]
    assert not torch.equal(first["fc6"] == 0, other == 0)
    net.draw(5, first=4)  # the second half of a joined batch of eight
    part = net.activations(pictures(row, 8)[4:])
    assert torch.equal(first["fc6"][4:] == 0, part["fc6"] == 0)
    net.eval()
    whole = torch.relu(net.fc6(net.activations(pictures(row, 8))["pool5"]))
    torch.testing.assert_close(net.activations(pictures(row, 8))["fc6"], whole / 2)


def test_no_key_means_new_masks_each_time():
    row = narrow(nets.PAPER, 4)
    net = AlexNet(row, classes=3, seed=0).train()
    assert not torch.equal(net(pictures(row)), net(pictures(row)))
