"""Measures training and evaluation on a GPU: `python -m benchmarks.speed.gpu`, one command on any machine with a GPU.

It needs neither Ray nor MLflow nor downloaded data, and ends within its budget, seven and a half minutes by default. The most important
measurements come first, and the page lists those for which there was no time. `docs/performance_gpu.md` and `.json` are rewritten after
each section, so a killed run keeps its finished sections.

`--device cpu` rehearses the whole program at tiny sizes. Its page says so and makes no claim about speed.
"""
