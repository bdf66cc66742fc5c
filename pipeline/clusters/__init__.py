"""Flink and Spark clusters on this machine, to try a pipeline on before a real one."""
