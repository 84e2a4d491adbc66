"""Reading study files: YAML with positions, every name and range checked, all errors at once, before anything runs.

`loader` is the way in; `constraints` tells the searcher which ranges depend on others.
"""
