"""The update rule by hand-worked numbers, the schedules at their epochs, and the two dropout conventions as one trajectory."""

import math
from dataclasses import replace

import pytest
import torch

from alexnet import nets, optim, recipes
from alexnet.errors import Misused
from alexnet.net import AlexNet
from tests.test_net import narrow, pictures


def test_the_rule_by_hand_across_a_change_of_rate():
    """v <- 0.9 v - 0.0005 e w - e g;  w <- w + v, with e = 0.1, 0.1, then 0.01: the old velocity is not rescaled."""
    w = torch.nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    rule = optim.Momentum([{"params": [w]}], lr=0.1, momentum=0.9, weight_decay=0.0005)
    for rate, gradient, expected in (
        (0.1, 1.0, 1.8999),  # v = -0.0005*0.1*2 - 0.1 = -0.1001
        (0.1, -2.0, 2.009715005),  # v = 0.9*-0.1001 - 0.0005*0.1*1.8999 + 0.2 = 0.109815005
        (0.01, 0.5, 2.103538460925),  # v = 0.9*0.109815005 - 0.0005*0.01*2.009715005 - 0.005 = 0.093823455925
    ):
        rule.param_groups[0]["lr"] = rate
        w.grad = torch.tensor([gradient], dtype=torch.float64)
        rule.step()
        assert w.item() == pytest.approx(expected, abs=1e-12)


def test_nesterovs_rule_is_torchs_to_the_last_bit_across_rates_and_decays():
    chance = torch.Generator().manual_seed(0)
    first, second = ([torch.nn.Parameter(w) for w in (torch.linspace(-1, 1, 7), torch.linspace(0, 3, 5))] for _ in range(2))
    ours = optim.Nesterov([{"params": [first[0]], "weight_decay": 5e-4}, {"params": [first[1]]}], lr=0.1, momentum=0.9)
    torchs = torch.optim.SGD([{"params": [second[0]], "weight_decay": 5e-4}, {"params": [second[1]]}], lr=0.1, momentum=0.9,
                             nesterov=True)
    for rate in (0.1, 0.07, 0.07, 0.01):
        for mine, theirs in zip(first, second):
            mine.grad = torch.randn(mine.shape, generator=chance)
            theirs.grad = mine.grad.clone()
        for rule in (ours, torchs):
            rule.param_groups[0]["lr"] = rate
            rule.step()
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(first, second))


def test_torchs_own_rule_differs_after_the_change():
    w = torch.nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    rule = torch.optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=0.0005)
    for rate, gradient in ((0.1, 1.0), (0.1, -2.0), (0.01, 0.5)):
        rule.param_groups[0]["lr"] = rate
        w.grad = torch.tensor([gradient], dtype=torch.float64)
        rule.step()
    assert abs(w.item() - 2.103538460925) > 0.05


def test_biases_do_not_decay_and_have_their_own_rate():
    net = AlexNet(narrow(nets.AS_RUN), classes=3, seed=0)
    rule = optim.optimiser(net, recipes.as_run())
    optim.apply(rule, optim.settings(recipes.as_run(), 30))
    rates = {(g["layer"], g["bias"]): (g["lr"], g["weight_decay"]) for g in rule.param_groups}
    assert rates["conv2", False] == (1e-3, 5e-4) and rates["conv2", True] == (0.02, 0.0)


def test_the_schedule_of_145():
    recipe = recipes.as_run()
    at = {epoch: optim.settings(recipe, epoch) for epoch in (0, 24.9, 25, 51, 66.9, 67, 72, 79, 90)}
    assert [at[e].rate for e in (0, 24.9, 25, 51, 67, 79, 90)] == [1e-2, 1e-2, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5]
    assert at[66.9].noise == 0.1 and at[67].noise == 0 and all(s.bias_rate == 0.02 for s in at.values())
    assert at[67].layers == {"conv1": 1e-5} and at[72].layers == at[90].layers == {"conv1": 0}
    short = replace(recipe, epochs=9)  # stretched with the run
    assert optim.settings(short, 9 * 25 / 91 + 1e-6).rate == 1e-3 and optim.settings(short, 9 * 25 / 91 - 1e-3).rate == 1e-2


def test_a_rate_of_zero_freezes_weights_biases_and_velocity():
    net = AlexNet(narrow(nets.AS_RUN), classes=3, seed=0)
    rule = optim.optimiser(net, recipes.as_run())
    before = {name: p.clone() for name, p in net.named_parameters()}
    optim.apply(rule, optim.settings(recipes.as_run(), 75))
    net(pictures(net.row, 4)).logsumexp(1).sum().backward()
    rule.step()
    moved = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name in before if not name.startswith("conv1")}


def test_the_plateau_of_the_text():
    plateau, recipe = optim.Plateau(), recipes.paper()
    rates, errors = [], [0.9, 0.8, 0.8, 0.81, 0.8, 0.7, 0.7, 0.7, 0.7]
    for error in errors:
        rates.append(optim.settings(recipe, 1, plateau.drops).rate)
        plateau.see(error, 3)
    assert rates == [0.01] * 5 + [0.001] * 4 and plateau.drops == 2


def test_one_cycle_and_cosine_rise_and_fall():
    recipe = replace(recipes.modern(), epochs=10, warmup=0.2, rate=1.0)
    assert [round(optim.settings(recipe, e).rate, 6) for e in (0, 1, 2, 6, 10)] == [0, 0.5, 1, 0.5, 0]
    recipe = replace(recipe, schedule="cosine")
    assert optim.settings(recipe, 4).rate == pytest.approx((1 + math.cos(math.pi * 0.25)) / 2)
    assert optim.settings(recipe, 10).rate == pytest.approx(0)


def test_lars_steps_by_a_share_of_each_layers_length():
    recipe = recipes.recipe("modern", update="lars", rate=2.0, momentum=0.9, decay=0.01)
    net = AlexNet(narrow(nets.row("tiny64")), classes=5, seed=0)
    optimiser = optim.optimiser(net, recipe)
    optim.apply(optimiser, optim.settings(recipe, recipe.warmup * recipe.epochs))  # at the peak
    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    for step in (1, 2):
        torch.nn.functional.cross_entropy(net(pictures(net.row, 4)), torch.tensor([0, 1, 2, 3])).backward()
        slopes = {name: value.grad.clone() for name, value in net.named_parameters()}
        now = {name: value.detach().clone() for name, value in net.named_parameters()}
        velocity = {name: now[name] - before[name] for name in now} if step == 2 else dict.fromkeys(now, 0.0)
        optimiser.step()
        optimiser.zero_grad()
        for name, value in net.named_parameters():
            w, g, share = now[name], slopes[name], 1.0
            if name.endswith("weight"):
                share, g = 0.001 * w.norm() / (g.norm() + 0.01 * w.norm()), g + 0.01 * w
            torch.testing.assert_close(value.detach(), w + 0.9 * velocity[name] - 2.0 * share * g)
        before = now


def test_orthogonal_keeps_the_directions_and_evens_their_lengths():
    random = torch.Generator().manual_seed(0)
    for shape in ((2, 24, 100), (1, 60, 20)):
        table = torch.randn(shape, generator=random, dtype=torch.float64)
        left, lengths, right = torch.linalg.svd(table, full_matrices=False)
        along = left.mT @ optim.orthogonal(table) @ right.mT
        told = along.diagonal(dim1=-2, dim2=-1)
        torch.testing.assert_close(along, torch.diag_embed(told), rtol=0, atol=1e-9)
        assert lengths.amax() > 2.5 * lengths.amin() and told.amin() > 0.65 and told.amax() < 1.25
    assert not optim.orthogonal(torch.zeros(1, 3, 4)).any()


def test_muon_turns_hidden_layers_and_leaves_the_rest_to_nesterov():
    net = AlexNet(narrow(nets.row("tiny64,norm=batch")), classes=5, seed=0)
    twin = AlexNet(net.row, classes=5, seed=0)
    made = {update: recipes.recipe("modern", update=update, rate=0.5) for update in ("muon", "nesterov")}
    rules = [optim.optimiser(net, made["muon"]), optim.optimiser(twin, made["nesterov"])]
    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    slopes, momenta = {}, {name: 0.0 for name in before}
    for step in (1, 2):
        now = {name: value.detach().clone() for name, value in net.named_parameters()}
        for (name, value), other in zip(net.named_parameters(), twin.parameters()):
            slopes[name] = value.grad = torch.randn(value.shape, generator=torch.Generator().manual_seed(step))
            other.grad = value.grad.clone()
            momenta[name] = 0.9 * momenta[name] + slopes[name]
        for rule in rules:
            rule.step()
        for (name, value), other in zip(net.named_parameters(), twin.parameters()):
            if value.dim() == 1 or name.startswith("fc8"):
                assert torch.equal(value, other), name
                continue
            assert value.detach().norm() == pytest.approx(before[name].norm().item(), rel=1e-5)
            halves = (slopes[name] + 0.9 * momenta[name]).chunk(2)  # of the two columns
            wanted = torch.cat([optim.orthogonal(half.flatten(1)[None])[0].view_as(half) for half in halves])
            stepped = now[name] - 0.5 * 0.2 * now[name].norm() * wanted / wanted.norm()
            torch.testing.assert_close(value.detach(), stepped * now[name].norm() / stepped.norm(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("update", ["lars", "muon"])
def test_rules_by_layer_want_layers_whole(update):
    net = AlexNet(narrow(nets.row("tiny64")), classes=5, seed=0)
    with pytest.raises(Misused, match=f"--update {update} .* the scheme columns divides"):
        optim.optimiser(net, recipes.recipe("modern", update=update), "columns")


def test_smaller_crops_come_first():
    recipe = recipes.recipe("modern", least_side=0.5, full_side=0.8, epochs=10)
    sides = [optim.settings(recipe, epoch).side for epoch in (0, 4, 8, 10)]
    assert sides == pytest.approx([0.5, 0.75, 1, 1])
    recipe = replace(recipe, sides=2)
    assert [optim.settings(recipe, epoch).side for epoch in (0, 3.99, 4, 7.99, 8)] == pytest.approx([0.5, 0.5, 0.75, 0.75, 1])
    assert optim.settings(recipes.recipe("paper"), 3).side == 1


def test_two_dropout_conventions_are_one_trajectory():
    """2012 (mask, outputs halved in use) and the inverse (masked outputs doubled): the same function of the weights all the
    way, if layers fed by dropped units have half the weights, a quarter of the rate and four times the decay."""
    then = narrow(nets.PAPER, 16)
    now = replace(then, dropout_scales="train")
    one, other = AlexNet(then, classes=5, seed=0).double().train(), AlexNet(now, classes=5, seed=0).double().train()
    fed = ("fc7", "fc8")
    with torch.no_grad():
        for name in fed:
            getattr(other, name).weight.mul_(0.5)
    recipe = replace(recipes.paper(), rate=0.005, decay=0.01)
    rules = [optim.optimiser(net, recipe) for net in (one, other)]
    for group in rules[1].param_groups:
        if group["layer"] in fed and not group["bias"]:
            group["lr"], group["weight_decay"] = group["lr"] / 4, group["weight_decay"] * 4
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    for step in range(6):
        for net, rule in zip((one, other), rules):
            net.draw(step)
            rule.zero_grad()
            torch.nn.functional.cross_entropy(net(pictures(then, 6, step).double() / 60), labels).backward()
            rule.step()
    for (name, a), b in zip(one.named_parameters(), other.parameters()):
        scale = 2 if name in ("fc7.weight", "fc8.weight") else 1
        torch.testing.assert_close(a, b * scale, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(one.eval()(pictures(then).double()), other.eval()(pictures(then).double()), rtol=1e-9, atol=1e-12)


def test_averages_follow_the_weights():
    net = AlexNet(narrow(nets.row("batchnorm")), classes=3, seed=0)
    average = optim.Average(net)
    with torch.no_grad():
        net.conv1.weight.add_(1.0)
    average.update(net, 0.9, step=10**6)
    copy = AlexNet(net.row, classes=3, seed=1)
    average.copy_to(copy)
    torch.testing.assert_close(copy.conv1.weight, net.conv1.weight - 0.9, rtol=0, atol=1e-5)
    assert torch.equal(copy.fc8.weight, net.fc8.weight)


# ---- the notebook's schedules ----------------------------------------------------------------------------------------


def test_dexp_is_the_sources_staircase():
    """Base 0.01, factor 250, four levels: 0.01, 0.001587, 0.000252, 0.00004, a quarter of training each."""
    recipe = recipes.recipe("dexp")
    rates = [optim.settings(recipe, 95 * share).rate for share in (0, 0.2, 0.26, 0.51, 0.76, 1.0)]
    assert rates == pytest.approx([0.01, 0.01, 0.001587, 0.000252, 0.00004, 0.00004], rel=2e-3)
    late = optim.settings(recipe, 94.9)
    assert (late.noise, late.bias_rate, late.layers) == (0.0, 0.002, {"conv1": 0.0})
    assert optim.settings(recipe, 40).bias_rate == 0.02 and optim.settings(recipe, 40).noise == 0.1


def test_cnn_stars_chain_follows_its_notes():
    recipe = recipes.recipe("six_conv_2012")
    net = AlexNet(narrow(nets.row("six_conv")), classes=3, seed=0)
    optimiser = optim.optimiser(net, recipe)

    def rates(epoch):
        optim.apply(optimiser, optim.settings(recipe, epoch))
        return {group["layer"]: group["lr"] for group in optimiser.param_groups if not group["bias"]}

    assert rates(0)["conv1"] == 1e-4 and rates(0)["fc8"] == 1e-3 and rates(0)["conv6"] == 1e-3
    assert rates(1)["fc8"] == 1e-2 and rates(6)["conv1"] == 1e-5 and rates(8)["conv1"] == 0.0
    assert rates(10)["fc8"] == 1e-3 and rates(30)["conv2"] == rates(30)["fc8"] == 1e-4 and rates(43)["conv2"] == 1e-5
    frozen = [group["lr"] for group in optimiser.param_groups if group["layer"] == "conv1"]
    assert frozen == [0.0, 0.0]  # its biases too
    first = recipes.recipe("six_conv_2009")
    assert optim.settings(first, 1).layers == {"conv6": 0.01, "fc": 0.01} and optim.settings(first, 3).layers == {}


def test_cifars_decays_are_by_layer_and_biases_have_none():
    recipe = recipes.recipe("cifar18")
    optimiser = optim.optimiser(AlexNet("cifar18", seed=0), recipe)
    decays = {(group["layer"], group["bias"]): group["weight_decay"] for group in optimiser.param_groups}
    assert decays[("conv2", False)] == 0.004 and decays[("fc10", False)] == 1.0 and decays[("fc10", True)] == 0.0
    at = [optim.settings(recipe, epoch) for epoch in (0, 119, 121, 131)]
    assert [now.rate for now in at] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5])
    assert [now.bias_rate for now in at] == pytest.approx([2e-3, 2e-3, 2e-4, 2e-5])


@pytest.mark.parametrize("name, changes", [("as_run_2010", 5), ("net120", 5), ("non_overlapping", 3)])
def test_the_notebook_reads_as_phases(name, changes):
    recipe = recipes.recipe(name)
    assert recipe.bias_rate == 0.02 and recipe.crop_shared_by == 32 and not recipe.reshuffle
    assert len({phase.epoch for phase in recipe.phases}) == changes
    assert [phase.epoch for phase in recipe.phases] == sorted(phase.epoch for phase in recipe.phases)


def test_the_longest_name_rules():
    assert optim.own({"conv": 1, "conv1": 2}, "conv1", 3) == 2 and optim.own({"conv": 1}, "fc6", 3) == 3
