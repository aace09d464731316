"""What one picture does in a net, and what of it the answer hangs on: the maps of each layer, how far the odds of a class fall
where a patch hides the picture (occlusion), and how strongly each pixel moves the class's logit (gradient)."""

from math import ceil

import numpy as np

from alexnet.errors import Misused

PARTS = 4  # a patch is this part of the picture's side, and a step this part of the patch
BATCH = 128  # hidden pictures that go through at once
DRAWS, NOISE = 24, 0.1  # gradients that are averaged, of the picture with noise of this share of its range
GREY, LEFT = 165, 0.14  # what is not looked at fades into this grey, neither light nor dark, and keeps this share


def occlusion(clf, square, *, index=None, window=None, stride=None):
    """uint8 (S, S, 3) -> float32 (S, S): how far the log odds of class `index` (the likeliest when left out) fall where a patch
    of `window` pixels hides the picture under its own mean colour; at each pixel the mean over the patches that cover it,
    nearer ones weighing more. Odds, since the probability of an answer that is sure of itself hardly moves."""
    size = len(square)
    window = window or max(1, size // PARTS)
    stride = stride or max(1, window // PARTS)
    if not 1 <= stride <= window <= size:
        raise Misused(f"window {window} and stride {stride} do not fit a picture of {size} pixels: the stride may be 1 to the "
                      f"window, the window up to {size}.")
    whole = clf.probabilities(square[None])
    index = _chosen(index, whole[0])
    # a patch's middle goes from edge to edge, so that no pixel is hidden more rarely than half as often as another
    places = np.floor(np.linspace(-(window / 2), size - window / 2, ceil(size / stride) + 1)).astype(int)
    spans = [(slice(max(place, 0), place + window), slice(max(-place, 0), min(window, size - place))) for place in places]
    patches = [(down, across) for down in spans for across in spans]  # in the picture, and in the patch
    near = (window + 1) / 2 - np.abs(np.arange(window) - (window - 1) / 2)
    fall, count = np.zeros((2, size, size), np.float64)
    colour = square.reshape(-1, 3).mean(0).round().astype(np.uint8)
    for first in range(0, len(patches), BATCH):
        part = patches[first : first + BATCH]
        hidden = np.repeat(square[None], len(part), axis=0)
        for one, (down, across) in zip(hidden, part):
            one[down[0], across[0]] = colour
        for (down, across), left in zip(part, _log_odds(clf.probabilities(hidden), index)):
            weight = np.outer(near[down[1]], near[across[1]])
            fall[down[0], across[0]] += weight * (_log_odds(whole, index)[0] - left)
            count[down[0], across[0]] += weight
    return (fall / count).astype(np.float32)


def gradient(clf, square, index=None, *, draws=DRAWS):
    """uint8 (S, S, 3) -> float32 (S, S): by how much a pixel's strongest colour moves the logit of class `index`, a mean over
    `draws` copies with a little noise, without which the gradient of a deep net is ragged; zero outside of what the net sees."""
    import torch

    index = _chosen(index, clf.probabilities(square[None])[0])
    batch = clf.preprocess(square)  # (1, 3, crop, crop)
    if draws > 1:
        random = torch.Generator().manual_seed(0)
        noise = torch.randn((draws, *batch.shape[1:]), generator=random).to(batch)
        batch = batch + NOISE * (batch.max() - batch.min()) * noise
    batch = batch.detach().requires_grad_()
    with torch.enable_grad():
        slope, = torch.autograd.grad(clf.net(batch)[:, index].float().sum(), batch)
    seen = slope.mean(0).abs().amax(0).cpu().numpy()
    heat, edge = np.zeros(square.shape[:2], np.float32), (len(square) - len(seen)) // 2
    heat[edge : edge + len(seen), edge : edge + len(seen)] = seen
    return heat


def layers(clf, square):
    """Name -> float32 (maps, h, w): what the next layer sees of this picture, of every layer that has maps."""
    import torch

    net, batch = clf.net, clf.preprocess(square)  # read here: weights that are read in inference mode have no gradients after it
    with torch.inference_mode():
        found = net.activations(batch)
    return {name: one[0].float().cpu().numpy() for name, one in found.items() if one.dim() == 4}


def overlay(square, heat):
    """uint8 (S, S, 3): the picture where the heat is, faded into grey where it is not. Nothing is said by colour, so that it
    reads in print; heat below zero counts as none."""
    level = np.clip(heat, 0, None) / max(float(np.max(heat)), 1e-12)
    share = (LEFT + (1 - LEFT) * level)[:, :, None]
    grey = square.mean(2, keepdims=True)
    coloured = grey + (square - grey) * np.clip(2 * level, 0, 1)[:, :, None]
    return np.clip(coloured * share + GREY * (1 - share), 0, 255).round().astype(np.uint8)


def smooth(heat, share=1 / 40):
    """The same under a Gaussian whose deviation is this share of the side: regions of a map that is ragged pixel by pixel."""
    place = np.arange(len(heat))
    weight = np.exp(-((place[:, None] - place) ** 2) / (2 * (share * len(heat)) ** 2))
    weight /= weight.sum(1, keepdims=True)
    return (weight @ heat @ weight.T).astype(np.float32)


def _log_odds(probabilities, index):
    """(B, classes) -> (B,): the others are summed, since 1 - p says nothing close to 1."""
    own, others = probabilities[:, index].astype(np.float64), np.delete(probabilities, index, axis=1).astype(np.float64).sum(1)
    return np.log(np.maximum(own, 1e-30)) - np.log(np.maximum(others, 1e-30))


def _chosen(index, probabilities):
    if index is None:
        return int(np.argmax(probabilities))
    if not 0 <= index < len(probabilities):
        raise Misused(f"index is {index}; the net has classes 0 to {len(probabilities) - 1}.")
    return int(index)
