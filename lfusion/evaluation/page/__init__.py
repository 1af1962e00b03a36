"""The report as one HTML file that a clinician can read."""

from lfusion.evaluation.page.page import write_report

__all__ = ["write_report"]
