"""The model's head, whatever its form. For selectors that declared `head`.

Made from `plugin-sdk/wit` by `cargo xtask boundary`; do not edit.
"""

from __future__ import annotations

from .. import _handles as at
from . import arrays


def head_logits(embeddings: arrays.Matrix) -> arrays.Matrix:
    """Logits in eval mode, `[n, classes]`, of embeddings `[n, width]` that need not be those of samples.
    The learner computes them in blocks of 512 rows from the first on, so that the same question has the same answer;
    the last bits of a row may depend on its place in the block.

    Errors: the head was not declared, the width is not the model's, a logit is not finite, or a limit is passed."""
    calls = at.hand()
    return arrays.Matrix._of(calls, calls.head_logits(at.number(calls, embeddings)))


def head_gradients(embeddings: arrays.Matrix, classes: list[int]) -> arrays.Matrix:
    """For each of the embeddings `[n, width]` the gradient there of the cross-entropy of a class, in eval mode, `[n,
    width]`. `classes` holds one class a row. Otherwise as `head-logits`.

    Errors: as for `head-logits`, and if there is not one class of the task a row."""
    calls = at.hand()
    return arrays.Matrix._of(calls, calls.head_gradients(at.number(calls, embeddings), classes))
