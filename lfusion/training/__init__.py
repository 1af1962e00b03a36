"""Labels → checkpoint."""

from lfusion.training.calibrate import calibrate
from lfusion.training.config import TrainingConfig, TrainingProgress
from lfusion.training.train import train

__all__ = ["TrainingConfig", "TrainingProgress", "calibrate", "train"]
