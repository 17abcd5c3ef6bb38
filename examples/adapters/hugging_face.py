"""The next samples to label of a Hugging Face dataset, as a dataset: `datasets.select`.

Needs `pip install querist datasets`. Embeddings and logits are columns; put them there with `dataset.map`.
"""

import numpy as np
from datasets import Dataset

import querist


def next_batch(pool: Dataset, budget: int, strategy: str = "badge", seed: int = 0, **params) -> Dataset:
    """The picked rows of `pool`, in the order of picks, with a column `querist_score` where the strategy scores.

    The columns `logits` and `embeddings` are used where there are such.
    """
    columns = pool.with_format("numpy")
    arrays = {name: np.asarray(columns[name][:], np.float32) for name in ("logits", "embeddings")
              if name in pool.column_names}
    picked = querist.select(strategy, budget=budget, seed=seed, params=params, **arrays)
    batch = pool.select(picked.rows)
    return batch.add_column("querist_score", picked.scores) if picked.scores else batch
