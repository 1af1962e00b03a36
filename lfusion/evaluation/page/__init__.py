"""The reports as HTML files that a clinician can read."""

from lfusion.evaluation.page.page import write_report
from lfusion.evaluation.page.second_look import write_second_look

__all__ = ["write_report", "write_second_look"]
