"""Place LLM fine-tuning and inference jobs on a fleet of unlike NVIDIA Jetson boards."""

__version__ = "0.1.0"
