"""Table 1's rivals: each part against an independent definition, the whole at toy size."""

import shutil

import numpy as np
import pytest
import torch

import alexnet
from alexnet.errors import Misused
from experiments import rivals, subsets
from experiments.arms import Arm, Size, Work
from experiments.rivals import coding, descriptors, fisher, linear
from experiments.subsets import WANTED

RANDOM = np.random.default_rng(0)


def test_fisher_vectors_are_the_gradient_of_the_likelihood():
    weights, means, variances = np.array([0.3, 0.7]), RANDOM.normal(size=(2, 3)), RANDOM.uniform(0.5, 2, (2, 3))
    parts, mask = RANDOM.normal(size=(1, 7, 3)), np.ones((1, 7), bool)
    tensors = [torch.tensor(one) for one in (weights, means, variances.copy())]
    found = fisher.vectors(torch.tensor(parts), *tensors, torch.tensor(mask))[0, 0].reshape(2, 2, 3)
    means_, spreads = torch.tensor(means, requires_grad=True), torch.tensor(variances**0.5, requires_grad=True)
    densities = torch.distributions.Normal(means_, spreads).log_prob(torch.tensor(parts[0])[:, None]).sum(-1)
    torch.logsumexp(densities + torch.tensor(weights).log(), 1).mean().backward()
    spread = torch.tensor(variances**0.5)
    root = torch.tensor(weights).sqrt()[:, None]
    assert torch.allclose(found[0], means_.grad * spread / root)  # the information of a mean: weight / variance
    assert torch.allclose(found[1], spreads.grad * spread / (2**0.5 * root))  # of a deviation: 2 weight / variance


def test_sparse_codes_are_scikit_learns():
    from sklearn.decomposition import sparse_encode

    parts, words = RANDOM.normal(size=(20, 12)), RANDOM.normal(size=(15, 12))
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    theirs = sparse_encode(parts, words, algorithm="lasso_cd", alpha=0.3, max_iter=50_000)
    ours = coding.lasso(torch.from_numpy(parts), torch.from_numpy(words), penalty=0.3, steps=500).numpy()
    assert (theirs != 0).any() and np.abs(ours - theirs).max() < 1e-3  # theirs stops at 1e-4
    both = coding.sparse(torch.from_numpy(parts), torch.from_numpy(words), penalty=0.3).numpy()
    assert both.min() >= 0 and np.allclose(both[:, :15] - both[:, 15:], ours, atol=0.1)


def test_words_are_the_middles_of_what_is_nearest_to_them():
    random = np.random.default_rng(0)
    clouds = np.concatenate([middle + random.standard_normal((100, 2)) for middle in ((0, 0), (50, 0), (0, 50))]).astype(np.float32)
    found = coding.centres(clouds, 3, random=random)
    middles = clouds.reshape(3, 100, 2).mean(1)
    away = np.linalg.norm(found[:, None] - middles, axis=-1)
    assert away.min(1).max() < 1e-3 and len(set(away.argmin(1))) == 3
    many = coding.centres(np.repeat(clouds[:4], 25, axis=0), 20, random=random)  # more words than there are different rows
    assert np.isfinite(many).all()


def test_triangle_codes_and_pools_by_hand():
    words = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 4.0]])
    parts = torch.tensor([[0.0, 0.0]])
    assert torch.allclose(coding.triangle(parts, words), torch.tensor([[3.0, 0.0, 0.0]]))  # 0, 5, 4 from the words, 3 on average
    assert coding.hard(torch.tensor([[3.0, 3.0]]), words).tolist() == [[0, 1, 0]]
    codes = torch.tensor([[[1.0, 0.0], [2.0, 5.0], [4.0, 0.0]]])
    mask = torch.tensor([[True, True, False], [False, False, True]])
    assert coding.pooled(codes, mask, "sum").tolist() == [[3, 5, 4, 0]]
    most = coding.pooled(codes, mask, "max")[0]
    assert torch.allclose(most, torch.tensor([2.0, 5.0, 4.0, 0.0]) / 45**0.5)


def test_the_svm_is_scikit_learns():
    from sklearn.svm import LinearSVC

    features, labels = RANDOM.normal(size=(90, 6)).astype(np.float32) * 3 + 1, RANDOM.integers(3, size=90)
    features[np.arange(90), labels] += 2
    ours = linear.fit(features, labels, 3, strengths=(0.2, 0.01), steps=300)[0]
    theirs = LinearSVC(C=0.2, tol=1e-8, max_iter=100_000).fit(features, labels)
    assert np.abs(ours.scores(features) - theirs.decision_function(features)).max() < 5e-3
    standard = linear.fit(features * 100, labels, 3, strengths=(0.2,), standardise=True, steps=300)[0]
    small = linear.fit(features, labels, 3, strengths=(0.2,), standardise=True, steps=300)[0]
    assert np.abs(standard.scores(features * 100) - small.scores(features)).max() < 0.01


def test_the_svm_stays_where_it_cannot_get_any_lower(monkeypatch):
    features, labels = RANDOM.normal(size=(400, 60)).astype(np.float32), RANDOM.integers(3, size=400)
    features[np.arange(400), labels] += 2
    there, = linear.fit(features, labels, 3, strengths=(0.01,), standardise=True, steps=150)
    monkeypatch.setattr(linear, "ENOUGH", 0.0)  # goes on among roundings
    on, = linear.fit(features, labels, 3, strengths=(0.01,), standardise=True, steps=1500)
    assert np.abs(on.scores(features) - there.scores(features)).max() < 0.01


def test_patches_lie_where_they_say():
    pictures = RANDOM.integers(256, size=(2, 12, 12, 3)).astype(np.uint8)
    found = descriptors.patches(pictures, patch=6, stride=3)
    places = descriptors.where(12, "patches", patch=6, stride=3) * 12
    assert found.shape == (2, 9, 108) and places[1].tolist() == [6, 3]  # x goes first
    own = pictures[1, :6, 3:9].transpose(2, 0, 1).reshape(-1).astype(float)
    assert np.allclose(found[1, 1], (own - own.mean()) / np.sqrt(own.var() + 10), atol=1e-5)
    masks = descriptors.masks(places / 12, descriptors.cells((1, 1), (2, 2)))
    assert masks[0].all() and masks[1:].sum(0).tolist() == [1] * 9


def test_whitened_parts_are_white():
    table = RANDOM.normal(size=(5000, 5)) @ RANDOM.normal(size=(5, 5)) * 10
    mean, matrix = coding.whitening(table, floor=0)
    assert np.allclose(np.cov((table - mean) @ matrix, rowvar=False), np.eye(5), atol=1e-6)


def test_dense_sift_sees_directions_and_colours_see_colours():
    pytest.importorskip("cv2")
    upright = np.zeros((1, 32, 32, 3), np.uint8)
    upright[:, :, ::8] = upright[:, :, 1::8] = 200
    settings = {"zoom": 1, "stride": 8, "sizes": (16,)}
    lying = upright.transpose(0, 2, 1, 3)
    both = (upright, np.ascontiguousarray(lying))
    first, second = (descriptors.sift(one, **settings).reshape(9, 16, 8).sum((0, 1)) for one in both)
    assert set(np.argsort(first)[-2:]) == {0, 4} and set(np.argsort(second)[-2:]) == {2, 6}
    red = np.zeros((1, 32, 32, 3), np.uint8)
    red[:, :16, :, 0] = 128
    found = descriptors.colours(red, **settings).reshape(9, 4, 4, 6)
    assert found[0, 0, 0].tolist() == pytest.approx([1, 0, 0, 0, 0, 0]) and found[-1, -1, -1].tolist() == pytest.approx([0] * 6)


def net_error(store, run):
    return alexnet.evaluate(run / "checkpoints" / "last" / "weights.safetensors", store=store, split="claims")["top1_error"]


def test_the_whole_at_toy_size(tmp_path, monkeypatch):
    pytest.importorskip("cv2")
    store = subsets.toy(tmp_path, size=32)
    encode, calls = rivals.coding.encode, []

    def killed(*given, **fields):
        calls.append(1)
        if len(calls) == 3:  # the first says how long a row is
            raise KeyboardInterrupt
        return encode(*given, **fields)

    monkeypatch.setattr(rivals, "AT_ONCE", 32)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(rivals.coding, "encode", killed)
        rivals.measure(store, tmp_path / "out", scale="toy")
    found = rivals.measure(store, tmp_path / "out", scale="toy")
    whole = rivals.measure(store, tmp_path / "whole", scale="toy", systems=rivals.RIVALS[:1])
    kept, fresh = ((tmp_path / name / "rivals").rglob("train-*.rows") for name in ("out", "whole"))
    assert next(one for one in kept if "sparse" in str(one)).read_bytes() == next(fresh).read_bytes()
    assert whole["systems"][0]["tried"][0]["tune_error"] == found["systems"][0]["tried"][0]["tune_error"]
    net, = (tmp_path / "out" / "runs").rglob("finished.json")
    net = net.parent
    assert [one["system"] for one in found["systems"]] == rivals.RIVALS
    for one in found["systems"]:
        assert one["trained_on"] == found["data"]["pictures"]["train"] and len(one["tried"]) >= 3 and one["bytes_of_features"] > 0
        assert one["tune_error"] == min(line["tune_error"] for line in one["tried"])
    for row, one in zip(found["rows"], found["systems"]):
        low, high = row["top1_interval"]
        assert low < row["difference"] < high and "toy32" in row["what"] and row["paper"] and "other pictures" not in row["what"]
        assert row["difference"] == pytest.approx(one["top1_error"] - net_error(store, net))
    other = Work([store], tmp_path, scale="toy", size=Size("toy32", batch_size=32)).train(Arm("net", "toy32"), seed=0)[0]
    again = rivals.measure(store, tmp_path / "out", scale="toy", model=other)  # features are only read
    assert "taught in" in rivals.as_text(found) and "taught in" not in rivals.as_text(again)
    assert again["net"]["top1_error"] == pytest.approx(net_error(store, other))
    keys = ("top1_error", "seconds_of_features", "tune_error")
    assert [[one[key] for key in keys] for one in again["systems"]] == [[one[key] for key in keys] for one in found["systems"]]
    shutil.copytree(store / "claims", store / "test")
    valid = rivals.measure(store, tmp_path / "out", scale="toy", validate=True, systems=["triangle k-means"])
    other = valid["systems"][0]["as_published"]
    assert other["trained_on"] == sum(valid["data"]["pictures"][name] for name in WANTED)
    assert other["top1_error"] <= valid["systems"][0]["top1_error"]  # it has seen them
    assert f"taught by {other['trained_on']}" in valid["said"][-1]
    assert valid["published"]["triangle k-means"][1600] == 0.221 and "triangle" in rivals.as_text(valid)
    with pytest.raises(Misused, match="hard k-means"):
        rivals.measure(store, tmp_path, scale="toy", systems=["hard kmeans"])
