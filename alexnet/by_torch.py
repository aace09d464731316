"""The net itself as the engine of last resort, behind the same names as the backends of exchange/backends.py; it runs any row."""

import numpy as np

from alexnet.exchange.backends import Backend


class Torch(Backend):
    name, needs, precisions, auto, keeps = "torch", ("torch",), ("float32", "bfloat16"), ("float32",), False

    def __init__(self, member):
        self.member, self.precision = member, member.precision

    @staticmethod
    def strength():
        return "torch runs everything"

    @classmethod
    def made(cls, weights, precision, threads, *, ranges=None, watched=False, keep=None):
        import torch

        from alexnet.evaluate.passes import Member
        from alexnet.net import AlexNet

        net = AlexNet(weights.row, classes=weights.classes, seed=0).eval()
        net.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.tensors.items()})
        mean = torch.from_numpy(np.array(weights.mean))
        return cls(Member(net, mean, weights.temperature, device=torch.device("cpu"), precision=precision))

    def run(self, squares):
        import torch

        return [self.member.probabilities(torch.from_numpy(squares), 1).numpy()]
