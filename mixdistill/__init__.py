"""Build the training set that your small model can actually learn from."""

from mixdistill.records import Problem, Trace, Verdict

__all__ = ["Problem", "Trace", "Verdict", "__version__"]

__version__ = "0.1.0"
