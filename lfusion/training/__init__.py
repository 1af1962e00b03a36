"""Labels → checkpoint."""

from lfusion.training.config import TrainingConfig, TrainingProgress
from lfusion.training.train import train

__all__ = ["TrainingConfig", "TrainingProgress", "train"]
