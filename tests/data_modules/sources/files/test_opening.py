"""Opening: local paths, HTTP addresses read in ranges, the extra that is missing."""

from __future__ import annotations

import gzip
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from data_modules.sources import open_source
from data_modules.sources.files import opening
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from tests.data_modules.public_layouts import noaa_olr, weatherbench2

T850 = (FieldSpec.parse("temperature@850"),)
OLR = (FieldSpec.parse("outgoing_longwave_radiation"),)


class _Ranges(SimpleHTTPRequestHandler):
    """Handler that serves files and ranges like an object store, and counts the bytes sent."""

    sent: list[tuple[str, int]]

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        wanted = self.headers.get("Range")
        if wanted:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start = int(first) if first else len(data) - int(last)
            stop = min(int(last) + 1, len(data)) if first and last else len(data)
            part = data[start:stop]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        else:
            part = data
            self.send_response(200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Last-Modified", "Wed, 01 Jan 2020 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(part)
        type(self).sent.append((path.name, len(part)))

    def do_HEAD(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(path.stat().st_size))
        self.send_header("Last-Modified", "Wed, 01 Jan 2020 00:00:00 GMT")
        self.end_headers()


@pytest.fixture
def served(tmp_path) -> Iterator[tuple[str, Path, list[tuple[str, int]]]]:
    pytest.importorskip("obstore", reason="the extra `cloud` is not installed")
    _Ranges.sent = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Ranges, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", tmp_path, _Ranges.sent
    server.shutdown()
    thread.join()


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_store_behind_an_address_is_read_lazily(served, zarr_format):
    address, folder, sent = served
    truth = weatherbench2(folder / "era5.zarr", days=40, zarr_format=zarr_format)
    config = SourceConfig(kind="weatherbench2", path=f"{address}/era5.zarr")
    found = open_source(config, T850)
    opened = len(sent)
    day = found["temperature"].isel(time=[2]).values[0, 0]
    np.testing.assert_array_equal(day, truth["temperature"].sel(level=850).values[8])
    # Of twenty chunks, those of sixteen days, of one variable and nothing else.
    assert len(sent) == opened + 8


def test_netcdf_behind_an_address_is_read_in_pieces(served):
    address, folder, sent = served
    truth = noaa_olr(folder / "olr.nc", days=200, rows=37, columns=72)
    path = folder / "olr.nc"
    config = SourceConfig(kind="noaa_psl", path=f"{address}/olr.nc")
    found = open_source(config, OLR)["outgoing_longwave_radiation"]
    np.testing.assert_array_equal(found.isel(time=[3]).values[0], truth["olr"].values[3])
    assert sum(size for _, size in sent) < 0.9 * path.stat().st_size


@pytest.mark.parametrize(
    ("pack", "said"),
    [
        (gzip.compress, r"compressed or an archive.*download it"),
        (lambda _: b"<html><title>Moved</title></html>", r"web page \(HTML\) that says 'Moved'"),
    ],
    ids=["gzip", "page"],
)
def test_what_cannot_be_read_in_ranges_is_told(served, pack, said):
    address, folder, _ = served
    noaa_olr(folder / "olr.nc", days=3)
    (folder / "olr.nc").write_bytes(pack((folder / "olr.nc").read_bytes()))
    config = SourceConfig(kind="noaa_psl", path=f"{address}/olr.nc")
    with pytest.raises(UserError, match=rf"^data\.source\.path: http\S+ is .*{said}"):
        open_source(config, OLR)


def test_address_without_anything_is_refused(served):
    address, _, _ = served
    config = SourceConfig(kind="weatherbench2", path=f"{address}/none.zarr")
    with pytest.raises(UserError, match=r"none\.zarr cannot be opened as Zarr"):
        open_source(config, T850)
    config = SourceConfig(kind="noaa_psl", path=f"{address}/none.nc")
    with pytest.raises(UserError, match=r"none\.nc cannot be read as NetCDF"):
        open_source(config, OLR)


@pytest.mark.parametrize(
    ("kind", "path"),
    [("weatherbench2", "gs://bucket/era5.zarr"), ("noaa_psl", "https://host/olr.nc")],
)
def test_missing_extra_is_named_in_one_sentence(monkeypatch, kind, path):
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    channels = T850 if kind == "weatherbench2" else OLR
    with pytest.raises(UserError, match=r"extra `cloud`.*pip install -e '\.\[cloud\]'"):
        open_source(SourceConfig(kind=kind, path=path), channels)


@pytest.mark.parametrize(
    ("address", "options"),
    [
        ("gs://bucket/a.zarr", {"skip_signature": True}),
        ("s3://bucket/a.zarr", {"skip_signature": True}),
        ("https://host/a.zarr", {}),
    ],
)
def test_no_credentials_are_looked_for(monkeypatch, address, options):
    store = pytest.importorskip("obstore.store")
    asked = {}
    monkeypatch.setattr(store, "from_url", lambda url, **keys: asked.update(keys, url=url))
    opening._bucket(address)
    assert asked["url"] == address
    assert {k: v for k, v in asked.items() if k == "skip_signature"} == options


def test_files_are_named_one_by_one(tmp_path):
    config = SourceConfig(kind="noaa_psl", files=[str(tmp_path / "a.nc")])
    with pytest.raises(UserError, match=r"data\.source\.files: .*a\.nc does not exist"):
        open_source(config, OLR)
    config = SourceConfig(kind="noaa_psl", path="https://host/olr.*.nc")
    with pytest.raises(UserError, match=r"an address cannot contain \*; list the files in"):
        open_source(config, OLR)
