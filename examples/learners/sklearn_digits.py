"""Logistic regression of scikit-learn on pixels: `querist run examples/learners/sklearn.toml`.

Needs `pip install scikit-learn`, and this package's `querist.learner`.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression

from querist.learner import Learner, serve


class Logistic(Learner):
    packages = ("numpy", "scikit-learn")
    reads = ("images",)

    def __init__(self, C: float = 1.0) -> None:
        self.C = C

    def begin(self):
        self.rows = self.data.images.reshape(self.data.samples, -1) / np.float32(255)

    def fit(self, samples, labels):
        self.model = LogisticRegression(C=self.C, max_iter=1000).fit(self.rows[samples], labels)
        return {"steps": int(self.model.n_iter_.max())}

    def head(self):
        """Classes that nobody has labelled yet have no row of their own in the model."""
        weights = np.zeros((len(self.data.classes), self.rows.shape[1]))
        biases = np.full(len(self.data.classes), -30.0)
        if len(self.model.classes_) == 2:
            # Of two classes scikit-learn keeps the second one's weights alone.
            first, second = self.model.classes_
            weights[second], biases[[first, second]] = self.model.coef_[0], [0.0, self.model.intercept_[0]]
        else:
            weights[self.model.classes_], biases[self.model.classes_] = self.model.coef_, self.model.intercept_
        return weights, biases

    def logits(self, samples):
        weights, biases = self.head()
        return self.rows[samples] @ weights.T + biases

    def embeddings(self, samples):
        return self.rows[samples]


if __name__ == "__main__":
    serve(Logistic)
