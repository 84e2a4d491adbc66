"""A Ray-distributed hyperparameter study of self-supervised animal behaviour recognition (TF-C with PatchTST)."""
