"""Small requests that would take much: refused before anything is decoded."""

from __future__ import annotations

import asyncio
import gzip
import struct
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
from fastapi import FastAPI, Request
from monailabel.endpoints.user.auth import User
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    UltrasoundImageStorage,
    generate_uid,
)
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lfusion.errors import ImageError, TooLargeError
from lfusion.image import write_mask
from lfusion.image.decode import open_image
from monailabel_app.lib.limits import (
    MAX_JSON_BYTES,
    MAX_SIGN_IN_BYTES,
    BodyLimit,
)

EDGE = 1_000_000
"""Pixels along each side of the hostile images: a terabyte each."""


def png(path: Path, edge: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", edge, edge, 8, 0, 0, 0, 0)
    content = (
        chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def bmp(path: Path, edge: int) -> None:
    info = struct.pack("<IiiHHIIiiII", 40, edge, edge, 1, 8, 0, 0, 0, 0, 0, 0)
    path.write_bytes(b"BM" + struct.pack("<IHHI", 0, 0, 0, 54) + info + b"\0" * 1024)


def nifti_header(edge: int) -> bytes:
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    side = min(edge, 32767)
    struct.pack_into("<8h", header, 40, 3, side, side, 1, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 2, 8)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<f", header, 108, 352)
    header[344:348] = b"n+1\0"
    return bytes(header)


def nrrd(path: Path, edge: int) -> None:
    path.write_bytes(
        f"NRRD0004\ntype: uint8\ndimension: 2\nsizes: {edge} {edge}\nencoding: raw\n\n".encode()
    )


def mha(path: Path, edge: int) -> None:
    path.write_bytes(
        f"ObjectType = Image\nNDims = 2\nDimSize = {edge} {edge}\nElementType = MET_UCHAR\n"
        "ElementDataFile = LOCAL\n".encode()
    )


def decode(file: Path) -> None:
    """What the server does with each file: header, limits, pixels."""
    with open_image(file) as image:
        image.shown()


def dicom(
    path: Path, rows: int, columns: int, frames: int = 1, syntax: UID = ExplicitVRLittleEndian
) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UltrasoundImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = syntax
    header = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    header.is_little_endian, header.is_implicit_VR = True, False
    header.Rows, header.Columns, header.NumberOfFrames = rows, columns, frames
    header.SamplesPerPixel, header.BitsAllocated, header.BitsStored = 1, 8, 8
    header.PixelData = b"\0\0"
    pydicom.dcmwrite(path, header)


class TestPixels:
    @pytest.mark.parametrize("suffix", [".png", ".bmp", ".nrrd", ".mha", ".nii"])
    def test_a_header_of_a_terabyte(self, tmp_path: Path, suffix: str) -> None:
        file = tmp_path / f"upload{suffix}"
        if suffix == ".nii":
            file.write_bytes(nifti_header(EDGE))
        else:
            {".png": png, ".bmp": bmp, ".nrrd": nrrd, ".mha": mha}[suffix](file, EDGE)
        tracemalloc.start()
        try:
            with pytest.raises(ImageError, match=r"limit|holds|cut off"):
                decode(file)
            assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
        finally:
            tracemalloc.stop()

    def test_a_dicom_header_of_gigabytes(self, tmp_path: Path) -> None:
        dicom(tmp_path / "frame.dcm", 60_000, 60_000)
        with pytest.raises(TooLargeError, match="3600000000 bytes, the limit"):
            decode(tmp_path / "frame.dcm")
        dicom(tmp_path / "cine.dcm", 1000, 1000, frames=1001)
        with pytest.raises(TooLargeError, match="1001 x 1000 x 1000"):
            decode(tmp_path / "cine.dcm")

    def test_a_deflated_dicom_is_inflated_within_limits(self, tmp_path: Path) -> None:
        dicom(tmp_path / "bomb.dcm", 10, 10, syntax=DeflatedExplicitVRLittleEndian)
        with pytest.raises(ImageError, match="100 bytes of pixel data"):
            decode(tmp_path / "bomb.dcm")

    def test_a_gzip_bomb(self, tmp_path: Path) -> None:
        bomb = tmp_path / "bomb.nii.gz"
        with gzip.open(bomb, "wb", compresslevel=1) as file:
            file.write(nifti_header(10))
            for _ in range(600):
                file.write(bytes(2**20))
        assert bomb.stat().st_size < 4 * 2**20
        tracemalloc.start()
        try:
            decode(bomb)  # the pixels that the header promises are read, nothing behind them
            assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize("suffix", [".png", ".nii.gz", ".nrrd", ".mha", ".tif"])
    def test_a_usual_mask_passes(self, tmp_path: Path, suffix: str) -> None:
        file = tmp_path / f"mask{suffix}"
        write_mask(file, np.eye(96, 128, dtype=np.uint8))
        decode(file)

    def test_a_usual_picture_passes(self, tmp_path: Path) -> None:
        Image.fromarray(np.zeros((96, 128), np.uint8)).save(tmp_path / "a.jpg")
        decode(tmp_path / "a.jpg")

    @pytest.mark.parametrize("suffix", [".png", ".nii.gz", ".nrrd", ".mha", ".dcm", ".tif", ".jpg"])
    def test_noise_is_a_bad_image(self, tmp_path: Path, suffix: str) -> None:
        file = tmp_path / f"noise{suffix}"
        file.write_bytes(np.random.default_rng(0).bytes(5000))
        with pytest.raises(ImageError):
            decode(file)


class TestOtherFiles:
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            (
                "a.nrrd",
                "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 4 4\ndata file: /etc/passwd\n\n",
            ),
            ("b.nrrd", "NRRD0004\nDataFile: LIST\nsizes: 4 4\n\n/etc/passwd\n"),
            ("c.mhd", "NDims = 2\nDimSize = 4 4\nElementDataFile = /etc/passwd\n"),
            ("d.mha", "NDims = 2\nDimSize = 4 4\nElementDataFile=../secret.raw\n"),
        ],
    )
    def test_a_header_that_points_elsewhere(self, tmp_path: Path, name: str, text: str) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(ImageError, match="another file"):
            decode(tmp_path / name)


FORM = "multipart/form-data; boundary=a"
UPLOAD_BYTES = 3 * MAX_JSON_BYTES


class Known:
    """Stands before an app as the gate does, and names the caller."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say who calls by a header."""
        roles = ["user"] if "x-known" in Headers(scope=scope) else []
        scope.setdefault("state", {})["user"] = User(username="", roles=roles)
        await self._app(scope, receive, send)


class TestBodies:
    @pytest.fixture
    def http(self) -> httpx.AsyncClient:
        """A client of an app that says how long the body was."""
        app = FastAPI()

        @app.api_route("/{path:path}", methods=["PUT", "POST"])
        async def length(request: Request) -> int:
            return len(await request.body())

        app.add_middleware(BodyLimit, upload_bytes=UPLOAD_BYTES)
        app.add_middleware(Known)
        transport = httpx.ASGITransport(app)
        return httpx.AsyncClient(transport=transport, base_url="http://test")

    @pytest.mark.parametrize(
        ("method", "path", "kind", "known", "limit"),
        [
            ("POST", "/activelearning/random", "application/json", True, MAX_JSON_BYTES),
            ("POST", "/activelearning/random", "", True, MAX_JSON_BYTES),
            ("POST", "/activelearning/random", FORM, True, MAX_JSON_BYTES),
            ("PUT", "/datastore/image", "application/json", True, MAX_JSON_BYTES),
            ("PUT", "/datastore/image", FORM, True, UPLOAD_BYTES),
            ("PUT", "/session/", FORM, True, UPLOAD_BYTES),
            ("POST", "/infer/lfusion", FORM, True, UPLOAD_BYTES),
            ("PUT", "/datastore/image", FORM, False, MAX_SIGN_IN_BYTES),
            ("POST", "/auth/token", FORM, False, MAX_SIGN_IN_BYTES),
            ("POST", "/auth/token", "application/json", False, MAX_SIGN_IN_BYTES),
        ],
    )
    @pytest.mark.parametrize("framing", ["length", "chunked", "a length too small"])
    def test_the_limit_is_that_of_caller_and_route(
        self,
        http: httpx.AsyncClient,
        method: str,
        path: str,
        kind: str,
        known: bool,
        limit: int,
        framing: str,
    ) -> None:
        async def pieces(length: int) -> AsyncIterator[bytes]:
            for start in range(0, length, 50_000):
                yield bytes(min(50_000, length - start))

        async def send(length: int) -> int:
            content = bytes(length) if framing == "length" else pieces(length)
            headers = {"content-type": kind, **({"x-known": "1"} if known else {})}
            if framing == "a length too small":
                headers["content-length"] = "1"
            reply = await http.request(method, path, content=content, headers=headers)
            return reply.status_code

        async def both() -> list[int]:
            return [await send(limit), await send(limit + 1)]

        assert asyncio.run(both()) == [200, 413]
