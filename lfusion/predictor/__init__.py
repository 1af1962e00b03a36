"""Image in, prediction out: the one door for the app, the command line and a notebook."""

from lfusion.predictor.description import ScoredImage
from lfusion.predictor.fields import Fields, LogitMoments
from lfusion.predictor.prediction import Prediction
from lfusion.predictor.predictor import HEAD_LABEL, Predictor, choose_device, load

__all__ = [
    "HEAD_LABEL",
    "Fields",
    "LogitMoments",
    "Prediction",
    "Predictor",
    "ScoredImage",
    "choose_device",
    "load",
]
