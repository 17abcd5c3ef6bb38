//! Models, training, evaluation and features.
