"""What training gains on a GPU: `python -m benchmarks.speed.gpu`, one command on any machine that has one.

It needs neither Ray nor MLflow nor downloaded data, and ends within its budget, eight minutes when left out. What matters most is
measured first; what there was no time for is named. `docs/performance_gpu.md` and `.json` are written anew after each section, so that a
run that is killed leaves what it has.

`--device cpu` rehearses the whole program at tiny sizes. Its page says so, and claims no time.
"""
