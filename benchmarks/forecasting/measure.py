"""One run: how well a system forecasts, how long it takes, how much memory it takes."""

import os
from multiprocessing import get_context
from time import perf_counter

import numpy as np
from machine import MB, memory, versions

from forecasting.problem import Problem, checksum
from forecasting.systems import make


def errors(system, part, forecast):
    """MSE and MAE of forecasts, over windows, steps and channels; of z-scored values."""
    squared = absolute = done = 0
    for _, y in system.windows(part):
        error = forecast[done : done + len(y)].astype(np.float64) - y
        squared += np.square(error).sum()
        absolute += np.abs(error).sum()
        done += len(y)
    if forecast.shape != (done, *y.shape[1:]):
        raise ValueError(f"forecasts have shape {forecast.shape}, targets {(done, *y.shape[1:])}.")
    return squared / forecast.size, absolute / forecast.size


def measure(name, path, settings, seed, threads):
    """Fit and judge a system in this process: a dict for the records."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)
    system = make(name, threads)
    load = os.getloadavg()[0]
    idle = memory("VmRSS")
    problem = Problem.load(path)
    begin = perf_counter()
    about = system.fit(problem, settings, seed)
    fitted = perf_counter()
    forecast = system.predict("test")
    predicted = perf_counter()
    peak = memory("VmHWM")
    seen = checksum(system.windows)
    if seen != problem.checksum:
        raise ValueError(f"{name} saw other windows of {path} than the file is about.")
    mse, mae = errors(system, "test", forecast)
    valid_mse, valid_mae = errors(system, "valid", system.predict("valid"))
    return about | dict(
        mse=round(mse, 6),
        mae=round(mae, 6),
        valid_mse=round(valid_mse, 6),
        valid_mae=round(valid_mae, 6),
        fit_seconds=round(fitted - begin, 3),
        windows_per_second=round(len(forecast) / (predicted - fitted), 1),
        peak_mb=round((peak - idle) / MB, 1),
        threads=threads,
        load=round(load, 2),
        checksum=seen,
        versions=versions(),
    )


def apart(*arguments):
    """`measure` in a process of its own, which has the libraries but not the memory of others."""
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work():
        sender.send(measure(*arguments))

    make(arguments[0], arguments[-1])  # imports the library here, once for all processes
    process = context.Process(target=work)
    process.start()
    sender.close()
    try:
        result = receiver.recv()
    except EOFError:
        result = None  # the process has printed why
    process.join()
    if result is None:
        raise RuntimeError(f"{arguments[:3]} failed with exit code {process.exitcode}.")
    return result
