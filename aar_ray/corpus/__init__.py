"""Recordings, the windows cut from them, and who may see which animal; only `shards` knows Ray."""
