"""The paper in plain PyTorch: patches, encoder, spectrum, augmentations, losses, classifier, scores.

Nothing here knows Ray, YAML or files. Shapes: B windows, A = 3 axes, L = 50 samples, P patch length, S patch stride,
N patches, D model size.
"""
