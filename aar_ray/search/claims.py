"""Who makes which fine-tuning: of all trials and studies that want the same one, one makes it and the others wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from aar_ray.store import Lease, Store

CLAIM_SECONDS = 30.0
"""After which a claim that was not renewed is free again: its trial was killed."""


@dataclass
class _Claim:
    claimer: str
    until: float
    lease: Lease


class Claims:
    """Claims of this study's trials on artifacts of one stage, each backed by the store's lease against other studies.

    Args:
        store: of the artifacts.
        stage: of the artifacts.
        clock: seconds from any start.
    """

    def __init__(self, store: Store, stage: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._stage, self._clock = store, stage, clock
        self._claims: dict[str, _Claim] = {}

    def claim(self, key: str, claimer: str) -> bool:
        """Claim an artifact, or renew the claim; returns whether the claimer has it now."""
        claim = self._claims.get(key)
        if claim is None:
            lease = self._store.lease(self._stage, key)
            if lease is None:
                return False
            claim = self._claims[key] = _Claim(claimer, 0.0, lease)
        elif claim.claimer != claimer and claim.until > self._clock():
            return False
        claim.claimer, claim.until = claimer, self._clock() + CLAIM_SECONDS
        return True

    def release(self, key: str, claimer: str | None = None) -> None:
        """End a claim, whosever it is, or only if it is the claimer's."""
        claim = self._claims.get(key)
        if claim is not None and claimer in (None, claim.claimer):
            self._claims.pop(key).lease.release()

    def drop_stale(self) -> None:
        """End the claims of those who do not renew them any more."""
        for key in [key for key, claim in self._claims.items() if claim.until <= self._clock()]:
            self.release(key)
