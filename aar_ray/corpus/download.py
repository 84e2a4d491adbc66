"""Fetch a published set from the host that its DOI leads to: Zenodo or a Dataverse.

The host's own list says which files there are and what their checksums are. A file that is there whole is not fetched
again, and one that was cut off goes on where it stopped.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

import pooch
import requests

from aar_ray.corpus.published import SETS

SECONDS = 60
"""Without a word from the host before it counts as gone."""
CHUNK_BYTES = 2**14
"""Kept at a time: at most so much is fetched again after a break."""
RESOLVER = "https://doi.org"
ZENODO = "https://zenodo.org"


class DownloadError(RuntimeError):
    """The host cannot be reached, or gives something else than it lists."""


@dataclass(frozen=True)
class Listed:
    """One file, as its host lists it."""

    path: str
    """Below the set's folder."""
    url: str
    checksum: str
    """`md5:...`, `sha1:...` and the like."""


@dataclass(frozen=True)
class Offer:
    """What a host says of a set."""

    licence: str
    files: tuple[Listed, ...]


def offer_of(name: str, *, resolver: str = RESOLVER, zenodo: str = ZENODO) -> Offer:
    """What the host of a set offers.

    Args:
        name: of the set, as `reader:` in a study file.
        resolver: answers where a DOI leads.
        zenodo: whose records DOIs with `zenodo` in them are.

    Raises:
        DownloadError: the set has no host that lists its files, or the host does not answer as expected.
    """
    if name not in SETS:
        raise DownloadError(f"name must be one of {', '.join(SETS)}, got {name!r}")
    known = SETS[name]
    if known.host == "zenodo":
        return _zenodo(zenodo, known.doi.rpartition("zenodo.")[2])
    if known.host == "dataverse":
        return _dataverse(_leads_to(resolver, known.doi), known.doi, known.licence)
    raise DownloadError(f"{known.title} has no host that lists its files by DOI; get it from {known.where}")


def download(name: str, folder: Path, consent: Callable[[str], bool], say: Callable[[str], None], **hosts: str) -> None:
    """Fetch all files of a set that are not there yet.

    Args:
        name: of the set.
        folder: where they go.
        consent: is asked with the licence; nothing is fetched unless it agrees.
        say: is told what is being done.
        hosts: other addresses, as `offer_of` takes them.

    Raises:
        DownloadError: no consent, no such set, or a file that does not come whole.
    """
    offer = offer_of(name, **hosts)
    if not consent(f"{SETS[name].title}, doi {SETS[name].doi}: licence {offer.licence}"):
        raise DownloadError("nothing was fetched: the licence was not accepted")
    for number, file in enumerate(offer.files, start=1):
        say(f"{number} of {len(offer.files)}: {file.path}")
        fetch(file, folder)


def fetch(file: Listed, folder: Path) -> Path:
    """One file, checked against its checksum.

    Raises:
        DownloadError: the path leads out of the folder, the host breaks off, or the checksum differs.
    """
    relative = PurePosixPath(file.path)
    if relative.is_absolute() or ".." in relative.parts:
        raise DownloadError(f"a file must lie in {folder}, got {file.path}")
    target = folder / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    try:
        pooch.retrieve(
            file.url, file.checksum, fname=target.name, path=target.parent, downloader=_GoesOn(part), progressbar=False
        )
    except ValueError as error:
        part.unlink(missing_ok=True)
        raise DownloadError(
            f"{file.path}: the checksum must be the listed one; {error}; run the command again"
        ) from error
    except (OSError, requests.RequestException) as error:
        raise DownloadError(f"{file.path}: {error}; run the command again, it goes on from here") from error
    part.unlink(missing_ok=True)
    return target


class _GoesOn:
    """Downloader for pooch that asks only for what is missing of a part fetched before."""

    def __init__(self, part: Path) -> None:
        self.part = part

    def __call__(self, url: str, output_file: Any, pooch: Any) -> None:
        have = self.part.stat().st_size if self.part.is_file() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        with requests.get(url, headers=headers, stream=True, timeout=SECONDS) as answer:
            if answer.status_code != 416:  # nothing is missing
                answer.raise_for_status()
                with self.part.open("ab" if answer.status_code == 206 else "wb") as part:
                    for chunk in answer.iter_content(CHUNK_BYTES):
                        part.write(chunk)
        os.replace(self.part, output_file)


def _zenodo(host: str, record: str) -> Offer:
    found = _asked(f"{host}/api/records/{record}")
    try:
        return Offer(
            licence=str(found["metadata"]["license"]["id"]),
            files=tuple(Listed(one["key"], one["links"]["self"], one["checksum"]) for one in found["files"]),
        )
    except (KeyError, TypeError) as error:
        raise DownloadError(f"{host} must list the files of record {record}, got an answer without {error}") from error


def _dataverse(host: str, doi: str, licence: str) -> Offer:
    found = _asked(f"{host}/api/datasets/:persistentId/?persistentId=doi:{quote(doi)}")
    try:
        version = found["data"]["latestVersion"]
        given = version.get("license") or version.get("termsOfUse") or licence
        return Offer(
            licence=str(given.get("name") if isinstance(given, dict) else given),
            files=tuple(_in_dataverse(host, one) for one in version["files"]),
        )
    except (KeyError, TypeError) as error:
        raise DownloadError(f"{host} must list the files of doi:{doi}, got an answer without {error}") from error


def _in_dataverse(host: str, listed: dict[str, Any]) -> Listed:
    """A table that the host has converted is fetched as it was handed in; the checksum is of that form."""
    about = listed["dataFile"]
    name = about.get("originalFileName", listed["label"])
    original = "?format=original" if "originalFileName" in about else ""
    return Listed(
        path=str(PurePosixPath(listed.get("directoryLabel", "")) / name),
        url=f"{host}/api/access/datafile/{about['id']}{original}",
        checksum=f"{about['checksum']['type'].replace('-', '').lower()}:{about['checksum']['value']}",
    )


def _leads_to(resolver: str, doi: str) -> str:
    """Scheme and host of the page that a DOI stands for."""
    found = _asked(f"{resolver}/api/handles/{doi}")
    for value in found.get("values", ()):
        if value.get("type") == "URL":
            page = urlsplit(str(value["data"]["value"]))
            return f"{page.scheme}://{page.netloc}"
    raise DownloadError(f"{resolver} must tell where doi {doi} leads, got no address")


def _asked(url: str) -> dict[str, Any]:
    try:
        answer = requests.get(url, timeout=SECONDS)
        answer.raise_for_status()
        found = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise DownloadError(f"{url} does not answer: {error}") from error
    if not isinstance(found, dict):
        raise DownloadError(f"{url} must answer with a JSON object, got {type(found).__name__}")
    return found
