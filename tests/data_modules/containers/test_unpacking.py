"""Archives and compressed files are told by their first bytes; one file in them is read."""

from __future__ import annotations

import gc
import gzip
import io
import lzma
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from data_modules.containers.unpacking import open_bytes, unpacked
from data_modules.sources import open_source
from data_modules.sources.stations.reports.request import open_text
from slams.config.schema import SourceConfig
from slams.errors import UserError
from slams.fields import FieldSpec
from tests.data_modules.public_layouts import noaa_olr

OLR = (FieldSpec.parse("outgoing_longwave_radiation"),)
# An error page as Apache sends it, and one of a gateway without a title.
PAGE = b"""<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">
<html><head>\n<title>404 Not &quot;Found&quot;</title>\n</head><body><h1>No</h1></body></html>"""


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """Directory of temporary files of this test."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


@pytest.fixture
def netcdf(tmp_path) -> Path:
    path = tmp_path / "plain.nc"
    noaa_olr(path, days=3)
    return path


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, members: dict[str, bytes], mode: str) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def wrapped(kind: str, path: Path, data: bytes) -> Path:
    if kind == "zip":
        return zipped(path, {"data/": b"", "data/one.nc": data, "__MACOSX/data/._one.nc": b"x"})
    if kind.startswith("tar"):
        return tarred(path, {"one.nc": data}, "w:gz" if kind == "tar.gz" else "w")
    path.write_bytes({"gz": gzip.compress, "xz": lzma.compress}[kind](data))
    return path


def opened(path: Path):
    return open_source(SourceConfig(kind="noaa_psl", path=str(path)), OLR)


@pytest.mark.parametrize("kind", ["zip", "gz", "xz", "tar", "tar.gz"])
def test_one_file_is_read_as_it_is_without_the_archive(tmp_path, netcdf, temporary, kind) -> None:
    """A ZIP named .nc is what the Climate Data Store delivers (one file, `download.nc`)."""
    expected = opened(netcdf)["outgoing_longwave_radiation"].values
    dataset = opened(wrapped(kind, tmp_path / "download.nc", netcdf.read_bytes()))
    assert len(list(temporary.iterdir())) == 1
    found = dataset["outgoing_longwave_radiation"]
    del dataset
    gc.collect()
    np.testing.assert_array_equal(found.values, expected)
    del found
    gc.collect()
    assert not list(temporary.iterdir())


def test_a_plain_file_is_not_copied(netcdf, temporary) -> None:
    assert unpacked(netcdf, "data.source.path") == (str(netcdf), None)
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_several_files_are_named(tmp_path, temporary, kind) -> None:
    """The two files that the Climate Data Store sends for instants and accumulations together."""
    names = ("data_stream-oper_stepType-instant.nc", "data_stream-oper_stepType-accum.nc")
    members = dict.fromkeys(names, b"CDF")
    path = tmp_path / "download.nc"
    zipped(path, members) if kind == "zip" else tarred(path, members, "w")
    with pytest.raises(UserError, match=r"archive of 2 files .*instant.nc, .*accum.nc") as refused:
        opened(path)
    assert str(refused.value).startswith("data.source.path")
    assert "extract it" in str(refused.value)
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (PAGE, """is a web page (HTML) that says '404 Not "Found"', such as"""),
        (b"\n<html><body>no</body></html>", "is a web page (HTML), such as a server sends"),
        # XHTML, as caches of web servers send it.
        (
            b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE html PUBLIC "-//W3C//'
            b'DTD XHTML 1.0 Strict//EN"\n"x.dtd">\n<html><title>403 Forbidden</title></html>',
            "is a web page (HTML) that says '403 Forbidden'",
        ),
        # docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
        (
            b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchKey</Code><Message>The "
            b"specified key does not exist.</Message></Error>",
            "is a message in XML that says 'The specified key does not exist.'",
        ),
        # The keys are those that ecmwf-datastores-client reads; the text has not been confirmed.
        (
            b'{"type": "about:blank", "title": "required licences not accepted", "status": 403}',
            "is a message in JSON that says 'required licences not accepted'",
        ),
    ],
    ids=["html", "bare", "xhtml", "xml", "json"],
)
def test_an_error_page_is_called_one_with_what_it_says(tmp_path, page: bytes, said: str) -> None:
    path = tmp_path / "olr.nc"
    for data in (page, gzip.compress(page)):
        path.write_bytes(data)
        with pytest.raises(UserError) as refused:
            opened(path)
        assert said in str(refused.value)


def test_damage_is_one_sentence_and_leaves_nothing(tmp_path, netcdf, temporary) -> None:
    data = netcdf.read_bytes()
    path = tmp_path / "download.nc"
    path.write_bytes(gzip.compress(data)[:-2000])
    with pytest.raises(UserError, match="missing or truncated"):
        opened(path)
    flipped = bytearray(zipped(path, {"one.nc": data}).read_bytes())
    flipped[len(flipped) // 2] ^= 255
    path.write_bytes(flipped)
    with pytest.raises(UserError, match=r"download\.nc cannot be read"):
        opened(path)
    path.write_bytes(zipped(path, {"one.nc": data}).read_bytes()[:-30])
    with pytest.raises(UserError, match="missing or truncated"):
        opened(path)
    assert not list(temporary.iterdir())


def test_content_of_another_format_is_refused_and_removed(tmp_path, temporary) -> None:
    path = zipped(tmp_path / "download.nc", {"readme.txt": b"nothing"})
    with pytest.raises(UserError, match="cannot be read as NetCDF"):
        opened(path)
    gc.collect()
    assert not list(temporary.iterdir())


def test_unpacking_keeps_to_a_few_megabytes(tmp_path, temporary) -> None:
    import tracemalloc

    path = tmp_path / "large.nc"
    path.write_bytes(gzip.compress(bytes(60_000_000), 1))
    tracemalloc.start()
    copy, directory = unpacked(path, "key")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert Path(copy).stat().st_size == 60_000_000
    assert directory is not None
    assert peak < 20e6


def test_station_files_share_it(tmp_path) -> None:
    path = wrapped("tar.gz", tmp_path / "AUM00011035-data.txt", b"#AUM00011035 2015\n")
    with open_text(path, "key") as text:
        assert text.readline() == "#AUM00011035 2015\n"
    path.write_bytes(PAGE)
    with pytest.raises(UserError, match="web page"), open_text(path, "key"):
        pass
    with pytest.raises(UserError, match="missing"), open_bytes(tmp_path / "none", "key"):
        pass
