"""Fetching a set, from a server on this machine that answers as Zenodo, a Dataverse and the DOI resolver do."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from aar_ray.corpus.__main__ import main
from aar_ray.corpus.download import DownloadError, download, offer_of
from aar_ray.corpus.published import SETS

COWS = {f"cow{number}.csv": bytes([65 + number]) * 100_000 for number in (1, 2)}
SENSOR = b"ax,ay,az,label\n1,2,3,standing\n" * 1000


class Host:
    """What the server has, what it was asked, and how it misbehaves."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.breaks_off_at: int | None = None
        self.spoilt = False
        self.address = ""
        self.zenodo_path = f"/api/records/{SETS['cattle'].doi.rpartition('zenodo.')[2]}"

    def answer(self, path: str) -> bytes | None:
        if path == self.zenodo_path:
            files = [
                {
                    "key": name,
                    "size": len(data),
                    "checksum": f"md5:{hashlib.md5(data).hexdigest()}",
                    "links": {"self": f"{self.address}{self.zenodo_path}/files/{name}/content"},
                }
                for name, data in COWS.items()
            ]
            return json.dumps({"metadata": {"license": {"id": "cc-by-nc-nd-4.0"}}, "files": files}).encode()
        if path.startswith(self.zenodo_path):
            data = COWS[path.split("/")[-2]]
            return b"spoilt" + data[6:] if self.spoilt else data
        if path == f"/api/handles/{SETS['goats'].doi}":
            page = f"{self.address}/dataset.xhtml?persistentId=doi:{SETS['goats'].doi}"
            return json.dumps({"responseCode": 1, "values": [{"type": "URL", "data": {"value": page}}]}).encode()
        if path == f"/api/datasets/:persistentId/?persistentId=doi:{SETS['goats'].doi}":
            about: dict[str, Any] = {
                "label": "pos_A.tab",
                "directoryLabel": "G1",
                "dataFile": {
                    "id": 7,
                    "filename": "pos_A.tab",
                    "originalFileName": "pos_A.csv",
                    "checksum": {"type": "SHA-1", "value": hashlib.sha1(SENSOR).hexdigest()},
                },
            }
            version = {"license": {"name": "CC BY-NC 4.0"}, "files": [about]}
            return json.dumps({"status": "OK", "data": {"latestVersion": version}}).encode()
        return SENSOR if path == "/api/access/datafile/7?format=original" else None


@pytest.fixture
def host() -> Iterator[Host]:
    here = Host()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            here.asked.append((self.path, asked))
            data = here.answer(self.path)
            if data is None:
                self.send_error(404)
                return
            first = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(data) - first))
            self.end_headers()
            last = len(data)
            if self.path.endswith("/content") and here.breaks_off_at is not None:
                last, here.breaks_off_at = here.breaks_off_at, None
                self.close_connection = True
            self.wfile.write(data[first:last])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield here
    server.shutdown()
    server.server_close()
    thread.join()


def get(name: str, folder: Path, host: Host, *, agrees: bool = True) -> list[str]:
    shown: list[str] = []

    def consent(licence: str) -> bool:
        shown.append(licence)
        return agrees

    download(name, folder, consent, lambda _: None, resolver=host.address, zenodo=host.address)
    return shown


def test_a_record_of_zenodo_is_fetched_whole_once_and_with_consent(tmp_path: Path, host: Host) -> None:
    (licence,) = get("cattle", tmp_path, host)
    assert "cc-by-nc-nd-4.0" in licence
    assert SETS["cattle"].doi in licence
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == COWS
    host.asked.clear()
    get("cattle", tmp_path, host)
    assert [path for path, _ in host.asked] == [host.zenodo_path]


def test_a_dataset_of_a_dataverse_is_found_by_its_doi_and_fetched_as_handed_in(tmp_path: Path, host: Host) -> None:
    (licence,) = get("goats", tmp_path, host)
    assert "CC BY-NC 4.0" in licence
    assert (tmp_path / "G1" / "pos_A.csv").read_bytes() == SENSOR


def test_without_consent_nothing_is_fetched(tmp_path: Path, host: Host) -> None:
    with pytest.raises(DownloadError, match="the licence was not accepted"):
        get("cattle", tmp_path, host, agrees=False)
    assert list(tmp_path.iterdir()) == []
    assert [path for path, _ in host.asked] == [host.zenodo_path]


def test_a_fetch_that_breaks_off_goes_on_where_it_stopped(tmp_path: Path, host: Host) -> None:
    host.breaks_off_at = 30_000
    with pytest.raises(DownloadError, match=r"cow1.csv: .*run the command again, it goes on from here"):
        get("cattle", tmp_path, host)
    assert not (tmp_path / "cow1.csv").exists()
    have = (tmp_path / "cow1.csv.part").stat().st_size
    assert 0 < have <= 30_000
    host.asked.clear()
    get("cattle", tmp_path, host)
    assert (f"{host.zenodo_path}/files/cow1.csv/content", f"bytes={have}-") in host.asked
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == COWS


def test_a_file_that_differs_from_its_checksum_is_refused_and_not_kept(tmp_path: Path, host: Host) -> None:
    host.spoilt = True
    with pytest.raises(DownloadError, match=r"cow1.csv: the checksum must be the listed one"):
        get("cattle", tmp_path, host)
    assert list(tmp_path.iterdir()) == []
    host.spoilt = False
    get("cattle", tmp_path, host)
    assert (tmp_path / "cow1.csv").read_bytes() == COWS["cow1.csv"]


def test_a_path_that_leads_out_of_the_folder_is_refused(
    tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COWS, "../cow1.csv", b"x")
    with pytest.raises(DownloadError, match=r"a file must lie in .*, got \.\./cow1.csv"):
        get("cattle", tmp_path / "cattle", host)
    assert not (tmp_path / "cow1.csv").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("horses", "has no host that lists its files by DOI; get it from https://doi.org/10.4121"),
        ("sheep", "get it from https://github.com/nkleanthous2015"),
        ("goat", "name must be one of goats, horses, cattle, sheep, got 'goat'"),
    ],
)
def test_what_cannot_be_fetched_is_said(name: str, message: str) -> None:
    with pytest.raises(DownloadError, match=message):
        offer_of(name)


def test_a_host_that_is_not_there_is_said(host: Host) -> None:
    with pytest.raises(DownloadError, match="does not answer"):
        offer_of("cattle", zenodo=f"{host.address}/elsewhere")


def test_the_command_line_asks_for_consent_or_yes(
    tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("aar_ray.corpus.download.offer_of.__kwdefaults__", {"resolver": "", "zenodo": host.address})
    assert main(["download", "cattle", str(tmp_path)]) == 1
    assert "the licence must be accepted: run in a terminal, or add --yes" in capsys.readouterr().err
    assert main(["download", "cattle", str(tmp_path), "--yes"]) == 0
    assert (tmp_path / "cow2.csv").read_bytes() == COWS["cow2.csv"]
