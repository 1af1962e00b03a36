"""Maps → image scores → labelling order."""

from lfusion.acquisition.ranking import RankedImage, rank
from lfusion.acquisition.scores import STRATEGIES, image_scores, random_score

__all__ = ["STRATEGIES", "RankedImage", "image_scores", "random_score", "rank"]
