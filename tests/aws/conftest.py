"""The fixtures of a core over one installation."""

from aws_bench import bench, installation

__all__ = ["bench", "installation"]
