"""Every row of the table as a module: forward, backward, names, initial values, saved = loaded; and each kind of layer against
its formula. Narrow copies keep it fast."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from alexnet import nets, ops, weights
from alexnet.net import AlexNet, stretched
from alexnet.nets import layers

ANATOMY = ["conv1", "norm1", "pool1", "conv2", "norm2", "pool2", "conv3", "conv4", "conv5", "pool5", "fc6", "fc7", "fc8", "prob"]


def narrow(row, share=16):
    """The same row with a sixteenth of the units."""
    def cut(layer):
        for field in ("maps", "units"):
            if value := getattr(layer, field, 0):
                return replace(layer, **{field: max(value // share, row.columns)})
        return layer

    return replace(row, layers=tuple(map(cut, row.layers)))


def small(row, share=16):
    """Narrow, and on half the side where that is large."""
    row = narrow(row, share)
    return replace(row, crop=row.crop // 2) if row.crop > 200 else row


def varied(name, share=16):
    return small(nets.row(name), share)


def pictures(row, count=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, row.crop, row.crop, generator=generator) * 60


@pytest.fixture(params=list(nets.ROWS))
def row(request):
    return small(nets.row(request.param))


VARIED = ["net137,norm=batch", "six_conv_22k,norm=batch", "lenet,pooling=convolution", "small64,nonlinearity=tanh,pooling=average",
          "as_run,norm=none,dropout=train", "small64_batchnorm,norm=none", "cifar13,norm=batch,nonlinearity=leaky"]


@pytest.mark.parametrize("name", [*nets.ROWS, *VARIED])
def test_forward_backward_names_and_shapes(name):
    row = narrow(nets.row(name))
    net = AlexNet(row, classes=7, seed=1)
    net.train()
    logits = net(pictures(row, 2))
    assert logits.shape == (2, 7)
    F.cross_entropy(logits, torch.tensor([0, 1])).backward()
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


def test_neighbours_in_one_pass_are_the_layers_one_by_one(row):
    net, labels = weights.to_device(AlexNet(row, classes=3, seed=5), torch.device("cpu")).train(), torch.tensor([0, 2])
    net.draw(7)
    found = []
    for joined in (True, False):
        ran = dict(net.layer_by_layer(pictures(row), joined=joined))
        F.cross_entropy(list(ran.values())[-1], labels).backward()
        assert len(ran) == len(row.layers) or joined
        found.append([p.grad for p in net.parameters()])
        net.zero_grad(set_to_none=True)
    for mine, apart in zip(*found):
        torch.testing.assert_close(mine, apart, rtol=1e-4, atol=1e-5 * apart.abs().max().item() + 1e-12)


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
    row = small(nets.PAPER, 4)
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
    row = small(nets.PAPER, 4)
    net = AlexNet(row, classes=3, seed=0).train()
    assert not torch.equal(net(pictures(row)), net(pictures(row)))


# ---- kinds of layers --------------------------------------------------------------------------------------------------


def alone(layer, size, seed=0, columns=1, **fields):
    """A layer as a module, in float64 and eval mode, and an input for it."""
    picture = layers.Conv("before", size[0], 1, sees="picture")
    row = nets.Row("alone", "", (picture, layer, layers.Dense("end", 0)), crop=size[1], columns=columns, **fields)
    net = AlexNet(row, classes=2, seed=seed).double().eval()
    x = torch.randn(3, *size, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    return net._modules[layer.name], x


@pytest.mark.parametrize("pad", [0, 1])
def test_a_local_layer_has_a_kernel_and_a_bias_at_every_place(pad):
    local, x = alone(layers.Local("local", 5, 3, pad=pad, std=0.3), (4, 7, 7))
    torch.nn.init.normal_(local.bias)
    padded, side = F.pad(x, (pad,) * 4), 5 + 2 * pad
    expected = torch.empty(3, 5, side, side, dtype=torch.float64)
    for i in range(side):
        for j in range(side):
            kernels = local.weight[i * side + j].view(5, 4, 3, 3)
            here = F.conv2d(padded[:, :, i : i + 3, j : j + 3], kernels, local.bias[i * side + j])
            expected[:, :, i, j] = here[:, :, 0, 0]
    torch.testing.assert_close(local(x), expected)


def test_a_local_layer_of_equal_places_is_a_convolution():
    local, x = alone(layers.Local("local", 5, 3, pad=1), (4, 7, 7))
    conv, _ = alone(layers.Conv("conv", 5, 3, pad=1, std=0.3, bias=0.5), (4, 7, 7))
    with torch.no_grad():
        local.weight.copy_(conv.weight.flatten(1).expand_as(local.weight))
        local.bias.copy_(conv.bias.expand_as(local.bias))
    torch.testing.assert_close(local(x), conv(x))


def test_a_dense_layer_by_column_is_two_layers():
    dense, x = alone(layers.Dense("dense", 10, std=0.1, sees="column"), (8, 3, 3), columns=2)
    torch.nn.init.normal_(dense.bias)
    one, two = torch.nn.Linear(36, 5).double(), torch.nn.Linear(36, 5).double()
    for half, linear in zip((slice(0, 5), slice(5, 10)), (one, two)):
        linear.weight.data, linear.bias.data = dense.weight.data[half], dense.bias.data[half]
    torch.testing.assert_close(dense(x), torch.cat([one(x[:, :4].flatten(1)), two(x[:, 4:].flatten(1))], 1))
    other = x.clone()
    other[:, 4:] += 1.0  # the second column's maps
    assert torch.equal(dense(x)[:, :5], dense(other)[:, :5]) and not torch.equal(dense(x)[:, 5:], dense(other)[:, 5:])


@pytest.mark.parametrize("side, kernel", [(6, 3), (7, 2), (7, 3), (8, 3)])
def test_pools_count_what_lies_inside_the_map(side, kernel):
    windows = -(-(side - kernel) // 2) + 1
    for by, reduced in (("average", torch.mean), ("max", torch.amax)):
        pool, x = alone(layers.Pool("pool", kernel, by=by), (2, side, side))
        found = pool(x)
        assert found.shape == (3, 2, windows, windows)
        for i in range(windows):
            for j in range(windows):
                window = x[:, :, 2 * i : 2 * i + kernel, 2 * j : 2 * j + kernel]  # cut off by the edge where it hangs over
                torch.testing.assert_close(found[:, :, i, j], reduced(window, (2, 3)))


def test_a_learned_pool_has_the_pools_size_and_stays_in_its_column():
    for side, kernel in ((6, 3), (7, 2), (27, 3), (28, 3)):
        conv, x = alone(layers.Pool("pool", kernel, by="convolution"), (4, side, side), columns=2)
        plain, _ = alone(layers.Pool("pool", kernel), (4, side, side))
        assert conv(x).shape == plain(x).shape
        beyond = F.pad(x, (0, 3, 0, 3))  # zeros where the last window hangs over
        expected = F.conv2d(beyond, conv.weight, conv.bias, stride=2, groups=2)[..., : plain(x).shape[2], : plain(x).shape[3]]
        torch.testing.assert_close(conv(x), expected)


def test_nails_stand_as_far_from_one_edge_as_from_the_other():
    nails, x = alone(layers.Nails("nails"), (3, 224, 224))
    assert torch.equal(nails(x), x[:, :, 2::4, 2::4]) and nails(x).shape[2:] == (56, 56)  # 2 before the first, 1 behind the last
    blur, x = alone(layers.Blur("blur"), (3, 12, 12))
    torch.testing.assert_close(blur(x), ops.blur(x, std=4.0, taps=9))


# ---- rows -------------------------------------------------------------------------------------------------------------


def test_the_side_path_is_a_second_convolution_into_conv2():
    row = varied("net137")
    net = AlexNet(row, classes=3, seed=0).double().eval()
    batch = pictures(row).double()
    found = net.activations(batch)
    side = row.crop // 4
    assert found["nails"].shape[1:] == (3, side, side)
    torch.testing.assert_close(found["nails"], ops.blur(batch, std=4.0, taps=9)[:, :, 2::4, 2::4])  # of the picture itself
    thin = F.pad(found["nails"], (0, 1, 0, 1))  # 28 or 56 at 5 / 2: the last window hangs over by one
    into = (F.conv2d(found["pool1"], net.conv2.weight, net.conv2.bias, padding=2, groups=2)
            + F.conv2d(thin, net.low2.weight, stride=2))
    torch.testing.assert_close(found["conv2"], into.relu())
    assert (into < 0).any() and found["low2"].abs().max() > 0.1
    net.train()(batch).square().sum().backward()
    assert net.low2.weight.grad.abs().sum() > 0 and net.low2.bias is None


def halves_that_change(name):
    """Layer -> (whether its first column, its second column sees a change in the second half of conv1)."""
    row = varied(name, 8)
    net = AlexNet(row, classes=4, seed=0).double().eval()
    before = net.activations(pictures(row).double())
    with torch.no_grad():
        net.conv1.weight[len(net.conv1.weight) // 2 :] += 0.1
    after = net.activations(pictures(row).double())
    changed = {}
    for layer in before:
        pairs = zip(before[layer].chunk(2, 1), after[layer].chunk(2, 1))
        changed[layer] = tuple(not torch.equal(one, other) for one, other in pairs)
    return changed


MEETS = {"as_run": "conv3", "no_crossing": "fc8", "crossing_conv2": "conv2", "crossing_conv4": "conv4", "crossing_conv5": "conv5",
         "net137": "conv3", "net133": "conv4", "bvlc": "norm1"}


@pytest.mark.parametrize("name, meets", MEETS.items())
def test_columns_meet_where_the_row_says_and_not_before(name, meets):
    changed = halves_that_change(name)
    hidden = list(changed)[list(changed).index("conv1") :]
    before, after = hidden[: hidden.index(meets)], hidden[hidden.index(meets) :]
    assert before and {changed[layer] for layer in before} == {(False, True)}
    assert {changed[layer] for layer in after} == {(True, True)}


@pytest.mark.parametrize("name", ["caffenet", "bvlc"])
def test_caffes_norm_is_one_over_both_columns(name):
    net = AlexNet(varied(name, 8), classes=2, seed=0).double().eval()
    apart = AlexNet(varied("net131"), classes=2, seed=0).norm2  # the same numbers, columns apart
    for norm, maps in ((net.norm1, 12), (net.norm2, 32)):
        x = torch.randn(2, maps, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 60
        for batch in (x, x.contiguous(memory_format=torch.channels_last)):
            torch.testing.assert_close(norm(batch), torch.nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)(x))
            assert not torch.allclose(norm(batch)[:, maps // 2], apart(batch)[:, maps // 2])


def test_lenet_sees_the_mean_of_the_colours():
    row = nets.row("lenet")
    net = AlexNet(row, seed=0).eval()
    colours = pictures(row, 3)
    grey = colours.mean(1, keepdim=True)
    assert net.conv1.weight.shape == (6, 1, 5, 5)
    torch.testing.assert_close(net(colours), net(grey.expand(-1, 3, -1, -1)))
    expected = torch.tanh(F.conv2d(grey / 78, net.conv1.weight, net.conv1.bias, padding=2))
    torch.testing.assert_close(net.activations(colours)["conv1"], expected)


def test_features_are_the_layer_below_the_classes():
    row = varied("six_conv_22k")
    net = AlexNet(row, classes=9, seed=0).eval()
    found = net.activations(pictures(row))
    assert net.last_hidden == "bottleneck" and found["bottleneck"].min() < 0  # it is linear
    torch.testing.assert_close(net.fc8(found[net.last_hidden]), found["fc8"])
    last = {"as_run": "fc7", "batchnorm": "norm7", "cifar26": "fc64", "cifar13": "local4", "lenet": "fc4"}
    assert {name: AlexNet(varied(name), classes=2, seed=0).last_hidden for name in last} == last


def test_a_batch_norm_behind_a_sum_normalises_the_sum():
    row = varied("net137,norm=batch")
    net = AlexNet(row, classes=3, seed=0).double().train()
    found = net.activations(pictures(row, 4).double())
    assert not hasattr(net.low2, "running_mean") and isinstance(net.norm2, torch.nn.BatchNorm2d)
    into = F.conv2d(found["pool1"], net.conv2.weight, padding=2, groups=2) + found["low2"]
    torch.testing.assert_close(found["conv2"], into)
    torch.testing.assert_close(found["norm2"], F.batch_norm(into, None, None, training=True).relu())


def test_smaller_crops_train_the_same_weights_and_measure_none():
    net = AlexNet(varied("small32_batchnorm"), classes=5, seed=0)
    assert net(pictures(net.row, 4)[:, :, :20, :20].contiguous()).shape == (4, 5)
    smooth = torch.arange(4.0)[None, None, :, None].expand(2, 3, 4, 4)
    found = stretched(smooth, (6, 6))
    expected = F.interpolate(smooth, (6, 6), mode="bilinear")
    torch.testing.assert_close(found, expected)
    with pytest.raises(RuntimeError):
        net.eval()(pictures(net.row, 4)[:, :, :20, :20])
