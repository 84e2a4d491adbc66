"""The search: what is varied, who proposes it, how a trial runs on Ray, the journal that records it, and the ranking.

The journal is the truth of a study; `ranking` reads it and nothing else, without Ray.
"""
