"""Claims on fine-tunings: one at a time, renewed by claiming again, free some time after the last renewal."""

from __future__ import annotations

from pathlib import Path

from aar_ray.search.claims import CLAIM_SECONDS, Claims
from aar_ray.store import Store


def test_a_claim_that_is_not_renewed_is_free_after_some_time(tmp_path: Path) -> None:
    now = [100.0]
    store = Store(tmp_path)
    claims = Claims(store, "finetune", clock=lambda: now[0])
    assert claims.claim("k", "one")
    now[0] += CLAIM_SECONDS - 1
    assert claims.claim("k", "one")
    now[0] += CLAIM_SECONDS - 1
    assert not claims.claim("k", "two")
    now[0] += 1
    assert claims.claim("k", "two")
    assert not claims.claim("k", "one")
    # another study is let in only when nobody here holds it
    claims.drop_stale()
    assert store.lease("finetune", "k") is None
    now[0] += CLAIM_SECONDS
    claims.drop_stale()
    assert store.lease("finetune", "k") is not None
