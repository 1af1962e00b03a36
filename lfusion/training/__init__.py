"""Labels → checkpoint."""

from lfusion.training.calibrate import calibrate
from lfusion.training.config import SEMI_SUPERVISED_WEIGHT, TrainingConfig, TrainingProgress
from lfusion.training.train import train

__all__ = ["SEMI_SUPERVISED_WEIGHT", "TrainingConfig", "TrainingProgress", "calibrate", "train"]
