"""Work on several machines, through Dask: an executor whose tasks run on the workers of `cluster` in params.yaml.

Dask brings tasks to workers, tells which workers there are, and starts them by SSH or SLURM. What is ours:

    connect.py      the cluster of params.yaml as a client of Dask, or one sentence on why there is none
    executor.py     an Executor: which task is given to which worker, and what becomes of those of a lost one
    agreement.py    what a worker must have in common with this process, so that its results are the same bytes
    on_worker.py    what a worker runs: it hands tasks to processes of the code of this repository
    child.py        such a process

A worker imports no Formwork: each of its threads has a process that runs the code of the workspace that the stage is
in, found by its path. So workers stay as they are when code is edited or an experiment runs in a copy, use all their
cores, and outlive a process that a broken library or a lack of memory kills.
"""
