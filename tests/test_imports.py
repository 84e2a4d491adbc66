"""What is imported without the garbage collector is never looked through, and the collector is as it was."""

from __future__ import annotations

import gc
import weakref

import pytest

from aar_ray.imports import uncollected


class Knot:
    """Holds itself, so that only the collector can free it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.parametrize("enabled", [True, False])
def test_nothing_made_in_the_block_is_looked_through_and_all_else_is(enabled: bool) -> None:
    if not enabled:
        gc.disable()
    try:
        with uncollected():
            assert not gc.isenabled()
            within = weakref.ref(Knot())
        assert gc.isenabled() is enabled
        after = weakref.ref(Knot())
        gc.collect()
        assert within() is not None
        assert after() is None
    finally:
        gc.unfreeze()
        gc.enable()


def test_the_collector_is_as_it_was_after_an_import_that_fails() -> None:
    with pytest.raises(ModuleNotFoundError), uncollected():
        import aar_ray.no_such_module  # type: ignore[import-not-found]  # noqa: F401
    gc.unfreeze()
    assert gc.isenabled()
