"""From a template and what it shows to one file that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

import lfusion
from lfusion.image.write import atomic_path


def write_page(path: Path, template: str, **shown: Any) -> None:
    """Write an HTML file, whole or not at all; folders are made as needed.

    Args:
        path: the file.
        template: a file of this package that extends `base.html.j2`.
        shown: what the template and its base ask for.
    """
    environment = Environment(
        loader=PackageLoader("lfusion.evaluation.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
    )
    page = environment.get_template(template).render(version=lfusion.__version__, **shown)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
