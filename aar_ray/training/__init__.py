"""Loops over batches: pre-training, fine-tuning, and the random forest beside them. Only `worker` knows Ray Train."""
