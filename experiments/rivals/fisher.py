"""Fisher vectors: how a picture's parts would move the means and deviations of a mixture of Gaussians that describes the parts of
all pictures. Sanchez and Perronnin (2011), the better of the two rivals in Table 1 of the paper: SIFT and local colour, each
reduced to 64 units, the square root and unit length of the vector, the whole picture and three bands."""

import numpy as np
import torch

from experiments.rivals import descriptors

REDUCED = 64


def learn(pictures, *, kinds, words, count, random, seed, regions, describe, **_):
    """-> arrays a kind: principal components, and the mixture."""
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    found = {}
    for kind in kinds:
        table = descriptors.sampled(pictures, kind, count=count, random=random, **describe)
        machine = PCA(min(REDUCED, *table.shape), random_state=seed).fit(table)
        mixture = GaussianMixture(words, covariance_type="diag", reg_covar=1e-5, max_iter=50, random_state=seed,
                                  init_params="k-means++")
        mixture.fit(machine.transform(table).astype(np.float64))
        found |= {f"{kind}_mean": machine.mean_, f"{kind}_components": machine.components_, f"{kind}_weights": mixture.weights_,
                  f"{kind}_means": mixture.means_, f"{kind}_variances": mixture.covariances_}
    return found


@torch.inference_mode()
def encode(arrays, pictures, *, kinds, regions, describe, device, **_):
    """-> float32 (N, kinds x regions x 2 x words x 64)"""
    found = []
    for kind in kinds:
        own = [torch.from_numpy(np.asarray(arrays[f"{kind}_{key}"], np.float32)).to(device)
               for key in ("mean", "components", "weights", "means", "variances")]
        mask = descriptors.masks(descriptors.where(pictures.shape[1], kind, **describe), regions)
        table = torch.from_numpy(descriptors.described(pictures, kind, **describe)).to(device)
        found.append(normal(vectors((table - own[0]) @ own[1].T, *own[2:], torch.from_numpy(mask).to(device))))
    return torch.cat(found, 1) / len(found) ** 0.5


def vectors(parts, weights, means, variances, mask):
    """parts (N, places, D), the mixture's (K,), (K, D), (K, D), mask (regions, places) -> (N, regions, 2 x K x D): the gradient of
    the mean log-likelihood by means and deviations, each divided by the root of its Fisher information."""
    spread, count = variances.sqrt(), mask.sum(1).float().clamp(min=1)  # (K, D), (regions,)
    log = weights.log() - 0.5 * (variances.log().sum(1) + (means**2 / variances).sum(1))
    share = torch.softmax(log + parts @ (means / variances).T - 0.5 * parts**2 @ (1 / variances).T, -1)  # (N, places, K)
    found = []
    for region, places in zip(mask, count):
        here, own = share[:, region], parts[:, region]
        zeroth = here.sum(1)[..., None]
        first, second = here.transpose(1, 2) @ own, here.transpose(1, 2) @ own**2  # (N, K, D)
        by_mean = (first - zeroth * means) / (spread * weights.sqrt()[:, None])
        by_spread = (second - 2 * means * first + zeroth * (means**2 - variances)) / (variances * (2 * weights).sqrt()[:, None])
        found.append(torch.cat([by_mean.flatten(1), by_spread.flatten(1)], 1) / places)
    return torch.stack(found, 1)


def normal(rows):
    """(N, regions, D): the signed square root, and unit length of every region -> (N, regions x D), of length 1."""
    rows = rows.sign() * rows.abs().sqrt()
    rows = rows / rows.norm(dim=2, keepdim=True).clamp(min=1e-8)
    return rows.flatten(1) / rows.shape[1] ** 0.5
