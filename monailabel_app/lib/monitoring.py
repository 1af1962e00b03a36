"""Counts and times of requests, an access log, and figures of the studies for Prometheus."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from monailabel.endpoints.user.auth import User
from monailabel.interfaces.utils.app import app_instance
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monailabel_app.lib.readiness import Folders

access_logger = logging.getLogger("lfusion.access")

_METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"})
_SECONDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)


class Monitoring:
    """Counts every request, also refused ones, and logs it if asked to.

    A log line holds the method, the template of the route, the status, the milliseconds and the
    user. It never holds a token, a query, an image id or an address.

    Args:
        app: What answers.
        registry: Takes the counts.
        access_log: Whether a line is logged for each request.
    """

    def __init__(self, app: ASGIApp, registry: CollectorRegistry, access_log: bool) -> None:
        self._app = app
        self._access_log = access_log
        self._requests = Counter(
            "lfusion_http_requests",
            "Answered requests.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "lfusion_http_request_seconds",
            "Time from a request's header to the end of its answer.",
            ["method", "route"],
            registry=registry,
            buckets=_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        status = 500  # of what fails without an answer

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            seconds = time.perf_counter() - start
            method = scope["method"] if scope["method"] in _METHODS else "other"
            # A path that is no route, or was refused before, could be any text.
            route = getattr(scope.get("route"), "path", "other")
            self._requests.labels(method, route, status).inc()
            self._seconds.labels(method, route).observe(seconds)
            if self._access_log:
                user: User | None = scope.get("state", {}).get("user")
                name = "-" if user is None or not user.username else user.username
                access_logger.info(
                    "%s %s %d %.0f ms %s", method, route, status, 1000 * seconds, name
                )


def make_registry(folders: Folders) -> CollectorRegistry:
    """A registry of its own, with the figures of the process and of the studies.

    Args:
        folders: Whose free space is told.

    Returns:
        The registry; requests are added by `Monitoring`.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_StudiesCollector(folders))
    return registry


class _StudiesCollector(Collector):
    """Figures of the studies, read when somebody asks."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    def describe(self) -> Iterator[Metric]:
        """Nothing beforehand: the app is not made yet."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The figures now."""
        app = app_instance()
        images = GaugeMetricFamily("lfusion_images", "Images by state.", labels=["state"])
        labels = GaugeMetricFamily("lfusion_labels", "Labels by tag.", labels=["tag"])
        with app.datastore().index.read() as db:
            counts = db.execute("SELECT name, n FROM tallies").fetchall()
        for name, count in counts:
            kind, _, value = name.partition(" ")
            if kind == "state":
                images.add_metric([value], count)
            elif kind == "label":
                labels.add_metric([value], count)
        yield images
        yield labels
        scoring = app.pool_scoring.status
        left = scoring.total - scoring.done if scoring.status == "running" else 0
        yield GaugeMetricFamily(
            "lfusion_scoring_images_left", "Images that the scoring run has not reached.", left
        )
        training = app.training.record().status
        yield GaugeMetricFamily(
            "lfusion_training_running", "1 while a training runs.", training == "running"
        )
        yield InfoMetricFamily(
            "lfusion_model",
            "The checkpoint that is served, and the end of the last training.",
            {"checkpoint_id": app.served.checkpoint_id, "training": training},
        )
        free = GaugeMetricFamily(
            "lfusion_disk_free_bytes", "Free space by folder.", labels=["folder"]
        )
        for name, folder in self._folders.items():
            free.add_metric([name], _free_bytes(folder))
        yield free


def _free_bytes(folder: Path) -> float:
    """Free space; not a number where the folder is gone."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return float("nan")
