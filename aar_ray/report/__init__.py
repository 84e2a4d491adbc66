"""What people look at: TensorBoard while a study runs, progress in the terminal, and the ranked table at the end.

Everything here is drawn from the journal's events, one by one as they come or all at once, and never from Ray.
"""
