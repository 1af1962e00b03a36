"""How good a model is: figures of merit and the report over a data set."""

from __future__ import annotations

from lfusion.evaluation.audit import AuditedImage, AuditReport, audit
from lfusion.evaluation.bootstrap import Estimate, estimate, resample_weights
from lfusion.evaluation.contradiction import Contradiction, DoubtedRegion, contradiction
from lfusion.evaluation.evaluate import evaluate, match_labels, predict_case
from lfusion.evaluation.figures import FailureFigures, Figures, OodFigures
from lfusion.evaluation.foreign import read_foreign
from lfusion.evaluation.results import EvaluationReport, ForeignSet, ImageResult, ScoredImage

__all__ = [
    "AuditReport",
    "AuditedImage",
    "Contradiction",
    "DoubtedRegion",
    "Estimate",
    "EvaluationReport",
    "FailureFigures",
    "Figures",
    "ForeignSet",
    "ImageResult",
    "OodFigures",
    "ScoredImage",
    "audit",
    "contradiction",
    "estimate",
    "evaluate",
    "match_labels",
    "predict_case",
    "read_foreign",
    "resample_weights",
]
