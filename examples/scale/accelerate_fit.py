"""
One model, several processes
============================

How is one model trained on several GPUs, or on several machines? With ``device="accelerate"`` in a
script that `accelerate` or `torchrun` starts once per GPU. Every process runs the whole script and
is given all the data; `fit` shares out each batch and averages the gradients, so that `batch_size`
keeps its meaning, and leaves the same model in every process::

    python accelerate_fit.py                                              # one process
    accelerate launch --num_processes 2 accelerate_fit.py                 # two GPUs
    accelerate launch --multi_gpu --num_processes 2 accelerate_fit.py     # no GPU: two on the CPU

What this does *not* do well: every process holds all the data, and waits for the slowest one twice
per batch. On a CPU whose cores are busy, two processes of this small network are as slow as one.
"""

import time

import numpy as np
from accelerate import PartialState

from skdive import DeepDIVEForecaster, sliding_windows
from skdive.datasets import load_pjm

load = load_pjm().frame.loc["2015":"2016"]
w = sliding_windows(load, lookback=168, horizon=24, marginals=["hour", "dayofweek"])
train, test = w.split_at("2016-11-01")

model = DeepDIVEForecaster(device="accelerate", batch_size=512, max_epochs=5, random_state=0)
begin = time.perf_counter()
model.fit(train.X, train.y, marginals=train.marginals)
seconds = time.perf_counter() - begin

# %%
# Every process has the fitted model, and could go on alone. One of them reports.
process = PartialState()
if process.is_main_process:
    n = process.num_processes
    print(f"{n} process{'es' * (n > 1)} on {process.device.type}: {len(train)} windows, ", end="")
    print(f"{model.n_iter_} epochs in {seconds:.1f} s")
    for epoch in model.net_.history:
        print(f"epoch {epoch['epoch']}: validation loss {epoch['valid_loss']:.3f}")
    error = np.abs(model.predict(test.X) - np.asarray(test.y)).mean()
    naive = np.asarray(test.X)[:, -24:].reshape(len(test), -1)
    print(f"November and December: {error:.0f} MW,", end=" ")
    print(f"yesterday repeated {np.abs(naive - np.asarray(test.y)).mean():.0f} MW")
