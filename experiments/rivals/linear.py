"""A linear SVM a class against the rest, squared hinge loss, all classes at once and the pictures a block at a time: the features
of 85,000 pictures do not fit into memory as liblinear wants them. The same objective as scikit-learn's LinearSVC, biases held back
with the weights."""

from typing import NamedTuple

import numpy as np
import torch

BLOCK = 2048  # pictures


class Machine(NamedTuple):
    weight: torch.Tensor  # (classes, units)
    bias: torch.Tensor  # (classes,)
    mean: torch.Tensor  # (units,)
    spread: torch.Tensor

    def scores(self, features):
        weight = self.weight / self.spread
        bias = self.bias - weight @ self.mean
        return torch.cat([part @ weight.T + bias for part, _ in blocks(features, weight.device)]).cpu().numpy()


def blocks(features, device):
    for first in range(0, len(features), BLOCK):
        rows = torch.from_numpy(np.array(features[first : first + BLOCK])).to(device).float()  # torch turns halves the quicker
        yield rows, slice(first, first + len(rows))


@torch.inference_mode()
def moments(features, device, *, standardise):
    """The mean and spread that features are taken off and divided by; 0 and 1 where they are left as they are."""
    units = features.shape[1]
    if not standardise:
        return torch.zeros(units, device=device), torch.ones(units, device=device)
    first, second = torch.zeros(2, units, dtype=torch.float64, device=device)
    for rows, _ in blocks(features, device):
        first += rows.double().sum(0)
        second += rows.double().square().sum(0)
    mean = first / len(features)
    return mean.float(), (second / len(features) - mean**2).clamp(min=0).add(0.01).sqrt().float()


def fit(features, labels, classes, *, strength, standardise=False, start=None, steps=60, device="cpu", tell=lambda: None):
    """|w|^2 / 2 + strength x the sum over pictures and classes of max(0, 1 -+ score)^2, by L-BFGS. start: where it begins."""
    mean, spread = (start.mean, start.spread) if start else moments(features, device, standardise=standardise)
    weight = (start.weight if start else torch.zeros(classes, features.shape[1])).to(device).clone()
    bias = (start.bias if start else torch.zeros(classes)).to(device).clone()
    labels, scale = torch.from_numpy(np.asarray(labels, np.int64)).to(device), 1 / (strength * len(labels))
    solver = torch.optim.LBFGS([weight, bias], max_iter=steps, history_size=10, line_search_fn="strong_wolfe",
                               tolerance_grad=1e-6, tolerance_change=1e-9)

    @torch.no_grad()
    def closure():
        loss = scale / 2 * (weight.square().sum() + bias.square().sum())
        weight.grad, bias.grad = torch.zeros_like(weight), scale * bias
        narrow = weight / spread  # features are standardised by their weights
        shift = bias - narrow @ mean
        total = torch.zeros_like(bias)
        for rows, place in blocks(features, device):
            sign = torch.full((len(rows), classes), -1.0, device=device).scatter_(1, labels[place, None], 1.0)
            slack = (1 - sign * (rows @ narrow.T + shift)).clamp(min=0)
            loss += slack.square().sum() / len(labels)
            slope = -2 / len(labels) * sign * slack
            weight.grad += slope.T @ rows
            total += slope.sum(0)
        weight.grad = (weight.grad - total[:, None] * mean) / spread + scale * weight
        bias.grad += total
        tell()
        return loss

    solver.step(closure)
    return Machine(weight, bias, mean, spread)
