"""TFX components and executors of our own, one a file."""
