"""Strategies of Querist with the `query` of scikit-activeml, for its loops, wrappers and benchmarks.

Needs `pip install querist scikit-activeml`.

    from scikit_activeml import Querist
    strategy = Querist("badge", random_state=0)
    query_idx = strategy.query(X, y, clf=clf, batch_size=10)
"""

import numpy as np
from skactiveml.base import SingleAnnotatorPoolQueryStrategy
from skactiveml.utils import MISSING_LABEL, is_labeled
from sklearn.base import clone

import querist


class Querist(SingleAnnotatorPoolQueryStrategy):
    """Any strategy that works on probabilities and embeddings; `X` are the embeddings."""

    def __init__(self, strategy="badge", params=None, missing_label=MISSING_LABEL, random_state=None):
        super().__init__(missing_label=missing_label, random_state=random_state)
        self.strategy = strategy
        self.params = params

    def query(self, X, y, clf, fit_clf=True, candidates=None, batch_size=1, return_utilities=False):
        X, y, candidates, batch_size, return_utilities = self._validate_data(
            X, y, candidates, batch_size, return_utilities, reset=True
        )
        pool, numbers = self._transform_candidates(candidates, X, y)
        labelled = is_labeled(y, self.missing_label_)
        if fit_clf:
            clf = clone(clf).fit(X, y)
        classes = {label: number for number, label in enumerate(clf.classes_)}
        picked = querist.select(
            self.strategy,
            budget=batch_size,
            seed=int(self.random_state_.randint(2**31)),
            params=self.params,
            probs=clf.predict_proba(pool),
            embeddings=pool.astype(np.float32),
            labelled_embeddings=X[labelled].astype(np.float32),
            labelled_labels=np.array([classes[label] for label in y[labelled]], np.uint32),
        )
        rows = np.array(picked.rows)
        indices = rows if numbers is None else numbers[rows]
        if not return_utilities:
            return indices
        # A batch is chosen at once: each row of utilities has the score of its own pick, and nothing of the others.
        utilities = np.full((batch_size, len(pool if numbers is None else X)), np.nan)
        utilities[np.arange(batch_size), indices] = picked.scores or 0.0
        return indices, utilities
