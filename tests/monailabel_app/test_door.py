"""Attacks on the door of a real server: before sign-in, by slow clients, and on a full disk."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from lfusion.cli.server_process import free_port, running_command

MEBIBYTE = 2**20
ANNOTATOR, OTHER = "annotators-token-of-this-test", "another-annotators-token-here"
ADMIN = "administrators-token-of-this-test"
HEADER_SECONDS = 10.0
HELD_BYTES = 40 * MEBIBYTE
"""Growth of the server's memory that an attack may cause: buffers, not bodies."""


@dataclass(frozen=True)
class Door:
    """A guarded server.

    Attributes:
        url: Its address.
        group: Id of its process.
        studies: Its folder.
        temporary: Its folder for temporary files, on a disk of 24 MiB.
        log: Its log.
    """

    url: str
    group: int
    studies: Path
    temporary: Path
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def client(self, token: str = "") -> httpx.Client:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, timeout=60, headers=headers)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def memory(self) -> int:
        """Bytes of resident memory."""
        status = Path(f"/proc/{self.group}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return 1024 * int(found[1])

    def peak(self) -> int:
        """Most bytes of resident memory since `reset_peak`."""
        status = Path(f"/proc/{self.group}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return 1024 * int(found[1])

    def reset_peak(self) -> int:
        """Forget the peak; returns the memory now."""
        Path(f"/proc/{self.group}/clear_refs").write_text("5")
        return self.memory()


@pytest.fixture(scope="module")
def door(
    heads: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Door]:
    """A server with tokens; its temporary files lie on a small disk of their own."""
    folder = tmp_path_factory.mktemp("door")
    studies, temporary = folder / "studies", folder / "temporary"
    studies.mkdir()
    temporary.mkdir()
    for number in range(3):
        shutil.copy(heads / "images" / f"head{number:02}.png", studies)
    (studies / "notes.png").write_text("this is no picture")
    tokens = folder / "tokens"
    tokens.write_text(f"annotator:ann:{ANNOTATOR}\nannotator:eve:{OTHER}\nadmin:bo:{ADMIN}\n")
    tokens.chmod(0o600)
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(temporary)]
    if os.name != "posix" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system can only be mounted by an administrator of Linux")
    port, log = free_port(), folder / "log"
    options = ["--studies", str(studies), "--port", str(port), "--checkpoint", str(tiny_checkpoint)]
    options += ["--token-file", str(tokens), "--access-log"]
    # `env` becomes the server: the id of the process stays.
    code = "from lfusion.cli import app; app()"
    command = ["env", f"TMPDIR={temporary}", sys.executable, "-c", code, "serve"]
    url = f"http://127.0.0.1:{port}"
    try:
        with running_command([*command, *options], f"{url}/health", log) as group:
            yield Door(url, group, studies, temporary, log)
    finally:
        subprocess.run(["umount", "--lazy", str(temporary)], check=True)


def answer(connection: socket.socket) -> bytes:
    """Everything that the server sends until it closes the connection."""
    content = b""
    try:
        while piece := connection.recv(65536):
            content += piece
    except ConnectionResetError:
        pass
    return content


def send_until_refused(connection: socket.socket, total: int) -> int:
    """Send zeros; how many the server took before it closed the connection."""
    sent, piece = 0, bytes(65536)
    try:
        while sent < total:
            sent += connection.send(piece)
    except (BrokenPipeError, ConnectionResetError):
        pass
    return sent


def status_of(content: bytes) -> int:
    return int(content.split(b" ", 2)[1])


def message_of(content: bytes) -> dict[str, str]:
    body: dict[str, str] = json.loads(content.partition(b"\r\n\r\n")[2])
    assert set(body) == {"code", "message"}
    return body


FORM = b"multipart/form-data; boundary=x"
PART = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.png"\r\n\r\n'


META = b"NDims = 2\nDimSize = 8 8\nElementType = MET_UCHAR\n"


class TestBeforeSignIn:
    @pytest.mark.parametrize(
        "kind", [FORM, b"application/x-www-form-urlencoded", b"application/json", b"text/plain"]
    )
    @pytest.mark.parametrize("chunked", [False, True])
    @pytest.mark.parametrize(
        ("method", "path"), [(b"POST", b"/auth/token"), (b"PUT", b"/datastore/image?image=x")]
    )
    def test_a_long_body_is_not_kept(
        self, door: Door, kind: bytes, chunked: bool, method: bytes, path: bytes
    ) -> None:
        total = 100 * MEBIBYTE
        before = door.reset_peak()
        with door.connect() as connection:
            framing = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % total
            head = b"%s %s HTTP/1.1\r\nhost: a\r\ncontent-type: %s\r\n%s\r\n\r\n"
            connection.sendall(head % (method, path, kind, framing))
            if chunked:
                connection.sendall(b"%x\r\n" % total)
            connection.sendall(PART)
            sent = send_until_refused(connection, total)
            content = answer(connection)
        assert sent < 16 * MEBIBYTE
        if content:  # a reset may overtake it
            assert status_of(content) in (400, 401, 413, 422)
        assert door.peak() - before < HELD_BYTES
        assert not [path for path in door.temporary.iterdir() if path.is_file()]

    @pytest.mark.parametrize(
        ("kind", "body"),
        [
            (FORM, PART.replace(b"file", b"password") + bytes(5000)),
            (FORM, (PART + b"\r\n") * 100),
            (b"application/x-www-form-urlencoded", b"password=" + b"x" * 5000),
        ],
    )
    def test_a_sign_in_of_more_than_some_kilobytes(
        self, door: Door, kind: bytes, body: bytes
    ) -> None:
        with door.client() as http:
            reply = http.post("/auth/token", content=body, headers={"content-type": kind.decode()})
        assert (reply.status_code, reply.json()["code"]) == (413, "too_large")

    def test_a_sign_in(self, door: Door) -> None:
        fields = {"username": "ann", "password": ANNOTATOR}
        with door.client() as http:
            for reply in (
                http.post("/auth/token", data=fields),
                http.post("/auth/token", files={k: (None, v) for k, v in fields.items()}),
            ):
                assert reply.json() == {"access_token": ANNOTATOR, "token_type": "bearer"}

    def test_a_refused_upload_gets_its_answer(self, door: Door) -> None:
        with door.client() as http:
            files = {"file": ("a.png", bytes(700_000))}
            reply = http.put("/datastore/image", params={"image": "x"}, files=files)
        assert (reply.status_code, reply.json()["code"]) == (401, "unauthenticated")


class TestHeaders:
    @pytest.mark.parametrize(
        "start",
        [
            b"GET /info/ HTTP/1.1\r\nhost: a\r\nx: ",
            b"GET /",
            b"",
            b"GET /info/ HTTP/1.1\r\nhost: a\r\n",
        ],
        ids=["one value", "address", "method", "many"],
    )
    def test_a_long_header_is_refused_early(self, door: Door, start: bytes) -> None:
        before = door.reset_peak()
        piece = b"a: b\r\n" * 10_000 if start.endswith(b"\r\n") else b"A" * 65536
        sent = 0
        with door.connect() as connection:
            try:
                connection.sendall(start)
                while sent < 300 * MEBIBYTE:
                    sent += connection.send(piece)
            except (BrokenPipeError, ConnectionResetError):
                pass
            content = answer(connection)
        assert sent < 16 * MEBIBYTE
        if content:
            assert status_of(content) in (400, 431)
            assert message_of(content)["code"] in ("bad_request", "too_large")
        assert door.peak() - before < HELD_BYTES

    def test_a_header_of_17_kilobytes(self, door: Door) -> None:
        with door.connect() as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: a\r\nx: " + b"A" * 17_000)
            content = answer(connection)
        assert status_of(content) == 431
        assert "16384 bytes" in message_of(content)["message"]

    @pytest.mark.parametrize(
        "request_line",
        [b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03", b"GET / HTTP/x", b"\0"],
    )
    def test_what_is_no_http(self, door: Door, request_line: bytes) -> None:
        with door.connect() as connection:
            connection.sendall(request_line + b"\r\n\r\n")
            content = answer(connection)
        assert status_of(content) == 400
        assert message_of(content)["code"] == "bad_request"

    @pytest.mark.parametrize(
        "framing",
        [
            b"content-length: 5\r\ntransfer-encoding: chunked",
            b"content-length: 5\r\ncontent-length: 6",
            b"content-length: -1",
            b"content-length: 99999999999999999999",
            b"transfer-encoding: gzip, chunked",
            b"transfer-encoding: chunked, chunked",
        ],
    )
    def test_contradicting_lengths_reach_no_second_request(
        self, door: Door, framing: bytes
    ) -> None:
        smuggled = b"0\r\n\r\nGET /info/ HTTP/1.1\r\nhost: a\r\n\r\n"
        with door.connect() as connection:
            head = b"POST /auth/token HTTP/1.1\r\nhost: a\r\ncontent-type: text/plain\r\n"
            connection.sendall(head + framing + b"\r\nconnection: close\r\n\r\n" + smuggled)
            content = answer(connection)
        assert status_of(content) in (400, 413, 422)
        assert content.count(b"HTTP/1.1 ") == 1


class TestSlowClients:
    def test_a_header_must_arrive_in_time(self, door: Door) -> None:
        with door.connect() as silent, door.connect() as dripping:
            start = time.monotonic()
            dripping.sendall(b"GET /health HTTP/1.1\r\n")
            stop = threading.Event()

            def drip() -> None:
                while not stop.wait(0.5):
                    try:
                        dripping.sendall(b"x: y\r\n")
                    except OSError:
                        return

            thread = threading.Thread(target=drip)
            thread.start()
            contents = [answer(silent), answer(dripping)]
            seconds = time.monotonic() - start
            stop.set()
            thread.join()
        assert HEADER_SECONDS - 1 < seconds < HEADER_SECONDS + 5
        assert [status_of(content) for content in contents] == [408, 408]
        assert message_of(contents[0])["code"] == "too_slow"

    def test_a_finished_request_is_no_way_to_hold_a_connection(self, door: Door) -> None:
        with door.connect() as connection:
            connection.sendall(
                b"GET /health HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n"
            )
            assert b"200 OK" in connection.recv(65536)
            start = time.monotonic()
            stop = threading.Event()

            def drip() -> None:
                while not stop.wait(0.5):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

            thread = threading.Thread(target=drip)
            thread.start()
            answer(connection)
            seconds = time.monotonic() - start
            stop.set()
            thread.join()
        assert seconds < HEADER_SECONDS + 5

    def test_half_open_connections_keep_nobody_out(self, door: Door) -> None:
        held = []
        try:
            for _ in range(600):
                held.append(door.connect())
                held[-1].sendall(b"GET /health HTTP/1.1\r\nhost")
            with door.client(ANNOTATOR) as http:
                start = time.monotonic()
                assert http.get("/info/").status_code == 200
                assert time.monotonic() - start < 5
            open_files = len(list(Path(f"/proc/{door.group}/fd").iterdir()))
            assert open_files < 256 + 100
        finally:
            for connection in held:
                connection.close()

    def test_a_body_must_arrive_in_time(self, door: Door) -> None:
        body = b"username=ann&password="
        with door.connect() as connection:
            connection.sendall(
                b"POST /auth/token HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n"
                b"content-type: application/x-www-form-urlencoded\r\n\r\n" + body
            )
            start = time.monotonic()
            content = answer(connection)
            seconds = time.monotonic() - start
        assert 25 < seconds < 45
        assert status_of(content) == 408
        assert b"too_slow" in content


class TestForms:
    @pytest.mark.parametrize(
        "body",
        [
            (PART + b"a\r\n") * 3 + b"--x--\r\n",
            b'--x\r\ncontent-disposition: form-data; name="params"\r\n\r\n{}\r\n' * 1000 + b"--x--",
            b"--x\r\n" + b"".join(b"h%d: v\r\n" % n for n in range(1000)) + b"\r\n",
            b"--x\r\n" + b"h" * 100_000 + b": v\r\n\r\n",
            b"--x\r\ncontent-disposition: form-data\r\n\r\n",
            b"--x--\r\n",
            b"",
            b"\0" * 100_000,
        ],
        ids=["files", "fields", "headers", "header", "no name", "no parts", "empty", "noise"],
    )
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("PUT", "/datastore/image?image=x"),
            ("PUT", "/session/"),
            ("PUT", "/datastore/label?image=head00"),
        ],
    )
    def test_a_form_that_is_none(self, door: Door, body: bytes, method: str, path: str) -> None:
        headers = {"content-type": FORM.decode()}
        with door.client(ANNOTATOR) as http:
            reply = http.request(method, path, content=body, headers=headers)
        assert reply.status_code in (400, 422)
        assert set(reply.json()) == {"code", "message"}

    @pytest.mark.parametrize("kind", ["application/json", "application/x+json"])
    @pytest.mark.parametrize("body", [b"[" * 500_000, b'{"a":' * 100_000])
    def test_deep_json(self, door: Door, kind: str, body: bytes) -> None:
        with door.client(ANNOTATOR) as http:
            for headers in ({}, {"content-encoding": "gzip"}):
                reply = http.post(
                    "/activelearning/random",
                    content=body,
                    headers={"content-type": kind, **headers},
                )
                assert reply.status_code in (400, 422)
                assert set(reply.json()) == {"code", "message"}

    def test_a_content_type_alone_makes_no_upload(self, door: Door) -> None:
        with door.client(ANNOTATOR) as http:
            reply = http.post(
                "/activelearning/random",
                content=bytes(2 * MEBIBYTE),
                headers={"content-type": FORM.decode()},
            )
        assert (reply.status_code, reply.json()["code"]) == (413, "too_large")


class TestFullDisk:
    def test_an_upload_that_does_not_fit(self, door: Door) -> None:
        noise = np.random.default_rng(0).bytes(20 * MEBIBYTE)

        def pieces() -> Iterator[bytes]:
            yield PART
            for start in range(0, len(noise), MEBIBYTE):
                yield noise[start : start + MEBIBYTE]
            yield noise
            yield b"\r\n--x--\r\n"

        with door.client(ANNOTATOR) as http:
            told = http.put("/session/", files={"files": ("a.png", noise)})
            streamed = http.put(
                "/datastore/image?image=x",
                content=pieces(),
                headers={"content-type": FORM.decode()},
            )
        for reply in (told, streamed):
            assert (reply.status_code, reply.json()["code"]) == (507, "failed")
            assert "make room" in reply.json()["message"]
        assert not list(door.temporary.glob("lfusion-upload-*"))

    def test_a_full_disk_refuses_and_is_told(self, door: Door, heads: Path) -> None:
        ballast = door.temporary / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(door.temporary).free))
        mask = (heads / "masks" / "head00.png").read_bytes()
        try:
            with door.client(ANNOTATOR) as http:
                replies = [
                    http.put(
                        "/datastore/label",
                        params={"image": "head00"},
                        files={"label": ("a.png", mask)},
                    ),
                    http.put("/session/", files={"files": ("a.png", mask)}),
                    *[
                        http.post(f"/infer/lfusion?image=head00&output={output}", data=data)
                        for output in ("image", "json")
                        for data in ({}, {"params": '{"result_extension": ".nrrd"}'})
                    ],
                ]
            for reply in replies:
                told = (reply.status_code, json.loads(reply.text or "{}").get("code"))
                assert told == (507, "failed"), (reply.url, reply.text)
        finally:
            ballast.unlink()
        with door.client(ANNOTATOR) as http:
            reply = http.post("/infer/lfusion?image=head00&output=json")
        assert reply.status_code == 200


class TestSessions:
    def test_each_user_keeps_a_few(self, door: Door, heads: Path) -> None:
        content = (heads / "images" / "head01.png").read_bytes()
        with door.client(ANNOTATOR) as http, door.client(OTHER) as other:

            def create(client: httpx.Client) -> str:
                reply = client.put("/session/", files={"files": ("a.png", content)})
                return str(reply.raise_for_status().json()["session_id"])

            others = create(other)
            ids = [create(http) for _ in range(20)]
            found = [http.get(f"/session/{one}").status_code for one in ids]
            assert found == [404] * 4 + [200] * 16
            assert other.get(f"/session/{others}").status_code == 200
            assert http.get(f"/session/{others}").status_code == 404
            assert http.delete(f"/session/{others}").status_code == 404
            foreign = http.post("/infer/lfusion", params={"session_id": others, "output": "json"})
            assert foreign.status_code == 404
            info = http.get(f"/session/{ids[-1]}")
            assert str(door.studies) not in info.text
            image = http.get(f"/session/{ids[-1]}", params={"image": True})
            assert image.content == content


class TestMonitoring:
    def test_health_and_readiness_need_no_token(self, door: Door) -> None:
        with door.client() as http:
            assert http.get("/health").json() == {"status": "ok"}
            # Its disk for temporary files is that small.
            ready = http.get("/ready")
        assert ready.status_code == 503
        message = ready.json()["message"]
        assert "temporary files" in message
        assert "make room" in message
        assert "/" not in message

    def test_figures_for_prometheus(self, door: Door) -> None:
        with door.client() as http:
            assert http.get("/metrics").status_code == 401
        with door.client(ANNOTATOR) as http:
            http.get("/datastore/image", params={"image": "head00"})
            text = http.get("/metrics").text
        assert re.search(r'lfusion_images\{state="open"\} [34]\.0', text)
        counted = (
            r'lfusion_http_requests_total\{method="GET",route="/datastore/image",status="200"\}'
        )
        assert re.search(counted, text)
        for name in (
            "lfusion_model_info",
            "lfusion_scoring_images_left",
            "lfusion_training_running",
            "lfusion_disk_free_bytes",
            "process_resident_memory_bytes",
        ):
            assert f"\n{name}" in text
        assert "head00" not in text

    def test_the_access_log(self, door: Door) -> None:
        with door.client(ANNOTATOR) as http:
            http.get("/datastore/image", params={"image": "head02"})
            http.get("/no/such/route-of-this-test")
        lines = [line for line in door.log.read_text().splitlines() if "lfusion.access" in line]
        assert re.search(r"GET /datastore/image 200 \d+ ms ann$", lines[-2])
        assert re.search(r"GET other 404 \d+ ms ann$", lines[-1])
        for secret in (ANNOTATOR, ADMIN, "head02", "route-of-this-test"):
            assert not [line for line in lines if secret in line]


class TestDecoding:
    def test_a_file_that_cannot_be_read_is_told_without_its_path(self, door: Door) -> None:
        with door.client(ANNOTATOR) as http:
            texts = [
                http.get("/thumbnail", params={"image": "notes"}),
                http.post("/infer/lfusion", params={"image": "notes"}),
                http.put("/session/", files={"files": ("a.png", b"no picture")}),
                http.put("/session/", files={"files": ("a.dcm", b"no picture")}),
                http.put("/session/", files={"files": ("a.nii.gz", b"no picture")}),
                http.put("/session/", files={"files": ("a.nrrd", b"no picture")}),
            ]
            for reply in texts:
                assert (reply.status_code, reply.json()["code"]) == (400, "bad_image")
            scored = http.post("/scoring/epistemic", params={"run_sync": True})
            assert set(scored.json()["skipped"]) == {"notes"}
            listing = http.get("/datastore/", params={"output": "all"})
            queue = http.get("/queue")
            info = http.get("/datastore/image/info", params={"image": "head00"})
            sample = http.post("/activelearning/random", json={})
            for reply in [*texts, scored, listing, queue, info, sample]:
                for folder in (door.studies.parent, door.temporary, Path(sys.prefix)):
                    assert str(folder) not in reply.text

    @pytest.mark.parametrize(
        ("name", "header"),
        [
            ("a.nrrd", b"NRRD0004\rdata file: FILE\ntype: uint8\ndimension: 2\nsizes: 8 8\n"),
            ("b.nrrd", b"NRRD0004\ntype: uint8\ndimension: 2\nsizes: 8 8\ndatafile: FILE\n"),
            ("c.nrrd", b"NRRD0004\ntype: uint8\ndimension: 2\nsizes: 8 8\nDATA FILE: LIST\nFILE\n"),
            (
                "d.mha",
                META + b"ElementDataFile = FILE\n",
            ),
            (
                "e.mha",
                b"elementdatafile = LOCAL\n" + META + b"ElementDataFile = FILE\n",
            ),
            (
                "f.mhd",
                META + b"ElementDataFile = FILE\n",
            ),
        ],
    )
    def test_no_file_leads_to_the_token_file(self, door: Door, name: str, header: bytes) -> None:
        tokens = door.studies.parent / "tokens"
        content = header.replace(b"FILE\n", f"{tokens}\n".encode()).replace(
            b" FILE", f" {tokens}".encode()
        )
        stem = Path(name).stem
        with door.client(ANNOTATOR) as http:
            upload = {"file": (name, content + b"\n")}
            replies = [
                http.put("/datastore/image", params={"image": f"up{stem}"}, files=upload),
                http.post("/infer/lfusion", files=upload),
                http.put("/session/", files={"files": upload["file"]}),
                http.put(
                    "/datastore/label",
                    params={"image": "head00"},
                    files={"label": upload["file"]},
                ),
            ]
            (door.studies / f"placed{name}").write_bytes(content + b"\n")
            deadline = time.monotonic() + 30
            asked = {"image": f"placed{stem}"}
            while http.get("/datastore/image", params=asked).status_code != 200:
                assert time.monotonic() < deadline
                threading.Event().wait(0.1)
            replies += [
                http.get("/thumbnail", params=asked),
                http.post("/infer/lfusion", params=asked),
            ]
        (door.studies / f"placed{name}").unlink()
        for reply in replies:
            assert reply.status_code == 400, (reply.url, reply.text)
            assert str(tokens.parent) not in reply.text

    def test_a_file_exchanged_within_one_tick_gets_its_own_thumbnail(self, door: Door) -> None:
        file = door.studies / "head01.png"
        status = file.stat()
        with door.client(ANNOTATOR) as http:
            before = http.get("/thumbnail", params={"image": "head01"}).content
            other = door.studies.parent / "other.png"
            Image.fromarray(np.zeros((96, 128), np.uint8)).save(other)
            os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
            kept = file.read_bytes()
            other.replace(file)
            after = http.get("/thumbnail", params={"image": "head01"}).content
            file.write_bytes(kept)
        assert before != after

    def test_many_thumbnails_of_large_images_take_bounded_memory(self, door: Door) -> None:
        rng = np.random.default_rng(0)
        for number in range(8):
            pixels = np.repeat(rng.integers(0, 255, (4000, 1), np.uint8), 4000, axis=1)
            Image.fromarray(pixels).save(door.studies / f"large{number}.png")
        with door.client(ANNOTATOR) as http:
            deadline = time.monotonic() + 60
            while http.get("/datastore/").json()["total"] < 12:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            before = door.reset_peak()
            replies: list[int] = []

            def ask(number: int) -> None:
                with door.client(ANNOTATOR) as own:
                    image = f"large{number % 8}"
                    query = {"image": image, "size": str(64 + number)}
                    replies.append(own.get("/thumbnail", params=query).status_code)

            threads = [threading.Thread(target=ask, args=(n,)) for n in range(24)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert replies == [200] * 24
        # One takes some 300 MB: pixels as float, their sector, and copies of both.
        assert door.peak() - before < 2_000 * MEBIBYTE
