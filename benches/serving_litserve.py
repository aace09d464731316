"""The same net behind LitServe, as its documents have it: for benches/serving.py, which needs pip install litserve
python-multipart for this. It reads forms and JSON, no plain bytes, so a form is what it is sent."""

import litserve
import numpy as np
from fastapi import Request

from alexnet import classifier


class Api(litserve.LitAPI):
    model = None

    def setup(self, device):
        self.clf = classifier.load(self.model, device="cpu")

    def decode_request(self, request: Request):
        return request["content"].file.read()

    def batch(self, inputs):
        return np.stack([self.clf.square(data) for data in inputs])

    def predict(self, squares):
        return self.clf.probabilities(squares)

    def unbatch(self, rows):
        return list(rows)

    def encode_response(self, row):
        return {"probabilities": row.tolist()}


def run(port, model):
    """Decoding stands in batch(): the processes that read requests have no net, and no size to decode to."""
    api = Api(max_batch_size=64, batch_timeout=0.003)
    api.model = model
    litserve.LitServer(api, accelerator="cpu").run(port=port, host="127.0.0.1", num_api_servers=1, generate_client_file=False,
                                                   log_level="error")
