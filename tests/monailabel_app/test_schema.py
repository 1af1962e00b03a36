"""Requests that fit the list of routes, and requests that do not: never a fault of the server.

Bounded and repeatable: a fixed number of examples for each route, always the same ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from lfusion.cli.server_process import running_server

EXAMPLES = 5
"""Of each route and of each kind: fitting and not."""

KNOWN = {"model": "lfusion", "strategy": "random", "method": "epistemic", "image": "head00"}
"""Names that exist; random ones would all end at the first check."""

MALFORMED = [
    ("application/json", b"{"),
    ("application/json", b"[" * 100_000),
    ("application/json", b'{"steps": NaN, "\\u0000": 1e999}'),
    ("application/json", "ü".encode("latin-1")),
    ("application/x-www-form-urlencoded", b"%zz&params=%ff&info=[1]"),
    ("multipart/form-data", b"no boundary"),
    ("multipart/form-data; boundary=x", b'--x\r\ncontent-disposition: form-data; name="file'),
    ("multipart/form-data; boundary=x", b"--x\r\nno header\r\n\r\n--x--"),
    ("text/plain; charset=nothing", b"\xff\xfe"),
    ("image/png", bytes(range(256))),
]


@pytest.fixture(scope="module")
def http(
    heads: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A client of a server that may be treated badly."""
    folder = tmp_path_factory.mktemp("schema")
    studies = folder / "studies"
    studies.mkdir()
    for number in range(3):
        shutil.copy(heads / "images" / f"head{number:02}.png", studies)
    options = ["--checkpoint", str(tiny_checkpoint)]
    with (
        running_server(studies, folder / "log", *options) as url,
        httpx.Client(base_url=url, timeout=120) as client,
    ):
        yield client


def check(reply: Any, what: str) -> None:
    """The answer is no fault, and says in our JSON what was wrong."""
    assert reply.status_code < 500, f"{what}: {reply.status_code} {reply.text[:300]}"
    if reply.status_code >= 400 and reply.content:
        assert set(reply.json()) == {"code", "message"}, f"{what}: {reply.text[:300]}"


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_generated_requests(http: httpx.Client, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_dict(http.get("/openapi.json").json())
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    if mode is GenerationMode.NEGATIVE:  # what takes nothing cannot be given anything wrong
        takes = {"parameters", "requestBody"}
        operations = [one for one in operations if takes & one.definition.raw.keys()]
    assert len(operations) > 20
    for operation in operations:

        @given(case=operation.as_strategy(mode), known=st.booleans())
        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: Any, known: bool) -> None:
            if known:
                for part in (case.path_parameters, case.query):
                    part.update({name: KNOWN[name] for name in KNOWN.keys() & (part or {}).keys()})
            reply = case.call(base_url=str(http.base_url).rstrip("/"), timeout=120)
            check(reply, reply.request.method + " " + str(reply.request.url)[:300])

        ask()
    assert http.get("/health").is_success


def test_malformed_bodies(http: httpx.Client) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    asked = 0
    for path, item in paths.items():
        for method in item.keys() & {"post", "put"}:
            address = path.format_map(KNOWN | {"session_id": "nobody"})
            query = {"image": "head00", "label": "head00", "tag": "final"}
            for kind, body in MALFORMED:
                headers = {"content-type": kind}
                reply = http.request(method, address, params=query, content=body, headers=headers)
                check(reply, f"{method} {path} with {kind} {body[:20]!r}")
                asked += 1
    assert asked > 100
    assert http.delete("/train/").is_success
