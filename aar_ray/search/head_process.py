"""A small Ray cluster on this machine for as long as whoever started this process holds its standard input open.

Run by its path with the arguments of `ray.init` as JSON; prints the cluster's address in one line. It imports nothing
of the package, whose imports take longer than Ray's own.
"""

from __future__ import annotations

import json
import sys

import ray


def main() -> None:
    """Start Ray, tell where it is, and end it when nobody listens any more, be it by a kill."""
    ray.init(**json.loads(sys.argv[1]))
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()
    ray.shutdown()


if __name__ == "__main__":
    main()
