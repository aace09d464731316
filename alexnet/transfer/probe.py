"""A linear probe: multinomial logistic regression on a trained net's features, which is a last layer for other classes. How much
it is held back is chosen on pictures it was not fitted to; so are the labels that look wrong and what more pictures would bring."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from alexnet.data import order

DECAYS = (1e-1, 1e-2, 1e-3, 1e-4)
STEPS = 200  # of L-BFGS at most
FOLDS = 5
SHARES = (0.1, 0.2, 0.4, 0.7, 1.0)  # of the training pictures, for the learning curve


class Probe(NamedTuple):
    weight: np.ndarray  # (classes, units), for features as they are
    bias: np.ndarray  # (classes,)

    def logits(self, features):
        return features @ self.weight.T + self.bias


def fit(features, labels, classes, *, decay):
    """The smallest mean -log of the right class plus decay / 2 x squared weights of standardised features; a convex problem."""
    features, labels = torch.from_numpy(features), torch.from_numpy(np.asarray(labels, np.int64))
    mean, spread = features.mean(0), features.std(0, correction=0)
    spread = spread.clamp(min=1e-3 * spread.max().item() or 1.0)  # what hardly varies is not blown up
    features = (features - mean) / spread
    weight = torch.zeros(classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=STEPS, tolerance_grad=1e-5, tolerance_change=1e-8, history_size=20,
                               line_search_fn="strong_wolfe")

    def closure():
        solver.zero_grad()
        loss = F.cross_entropy(features @ weight.T + bias, labels) + decay / 2 * weight.square().sum()
        loss.backward()
        return loss

    solver.step(closure)
    weight = (weight / spread).detach()
    return Probe(weight.numpy(), (bias - weight @ mean).detach().numpy())


def chosen(known, held, classes):
    """known, held: (features, labels). -> (the best probe by the log loss of what was held, its decay, a line a decay)."""
    tried = [(decay, fit(*known, classes, decay=decay)) for decay in DECAYS]
    lines = [{"decay": decay, **measured(probe, *held)} for decay, probe in tried]
    best = min(range(len(tried)), key=lambda i: lines[i]["log_loss"])
    return tried[best][1], tried[best][0], lines


def measured(probe, features, labels):
    probabilities = softmax(probe.logits(features))
    own = probabilities[np.arange(len(labels)), labels]
    return {"top1_error": float((probabilities.argmax(1) != labels).mean()),
            "log_loss": float(-np.log(np.maximum(own, 1e-30)).mean())}


def softmax(logits):
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def doubted(features, labels, classes, *, decay, seed, most=50):
    """Training pictures whose label a probe that never saw them finds unlikely, the least likely first: [(position, class that it
    answers, its probability, the label's own), ...]."""
    place = order.generator(seed, "folds").permutation(len(labels)) % FOLDS
    likely = np.zeros((len(labels), classes), np.float32)
    for fold in range(FOLDS):
        inside, outside = place != fold, place == fold
        if outside.any():
            likely[outside] = softmax(fit(features[inside], labels[inside], classes, decay=decay).logits(features[outside]))
    answer = likely.argmax(1)
    own, best = likely[np.arange(len(labels)), labels], likely.max(1)
    wrong = np.flatnonzero((answer != labels) & (best > 0.5))
    return [(int(at), int(answer[at]), float(best[at]), float(own[at])) for at in wrong[np.argsort((own - best)[wrong])][:most]]


def curve(known, held, classes, *, decay, seed):
    """[{"images", "top1_error", "log_loss"}, ...]: what shares of the training pictures would have given."""
    features, labels = known
    mixed = order.generator(seed, "curve").permutation(len(labels))
    lines = []
    for share in SHARES:
        some = np.sort(mixed[: max(round(share * len(labels)), min(len(labels), classes))])
        lines.append({"images": len(some), **measured(fit(features[some], labels[some], classes, decay=decay), *held)})
    return lines


def outlook(lines):
    """What twice the pictures would bring, if the last doublings go on as they did: a straight line through the logarithm of the
    error over the logarithm of the pictures, from the last three points; None where errors are too small to tell."""
    points = [(np.log(line["images"]), np.log(line["top1_error"])) for line in lines[-3:] if line["top1_error"] > 0]
    if len(points) < 3 or points[0][0] == points[-1][0]:
        return None
    slope = float(np.polyfit(*zip(*points), 1)[0])
    error = lines[-1]["top1_error"]
    return {"images": 2 * lines[-1]["images"], "top1_error": float(error * 2 ** min(slope, 0)), "slope": slope}
