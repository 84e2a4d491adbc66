"""Recordings, the windows cut from them, and who may see which animal; only `pipeline` and `reading` know Ray."""
