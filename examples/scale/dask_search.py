"""
Grid search on a Dask cluster
=============================

How does a search use many machines without sending the series along with every fit? `on_dask` gives
each worker the data once, and the fits refer to it. A worker that is lost costs the fits it was at,
which are repeated elsewhere.

The cluster here is two processes on this machine. For one of many machines, on which skdive is
installed, start ``dask scheduler`` on one and ``dask worker tcp://SCHEDULER:8786 --nthreads 1`` on
the others, or get one from `dask-jobqueue`, `dask-kubernetes` or a cloud, and replace the line of
the cluster with ``Client("tcp://SCHEDULER:8786")``. The rest stays as it is.

What Dask does *not* do well here: for a minute of fits on one machine, `n_jobs=2` is simpler and
starts faster.
"""

from distributed import Client, LocalCluster
from distributed.comm import tcp
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit

from skdive import DeepDIVEForecaster, sliding_windows
from skdive.cluster import on_dask
from skdive.datasets import load_pjm


def bytes_received():
    """Bytes that the connections of this process have brought since this was first called."""
    if not hasattr(tcp, "received"):
        read = tcp.from_frames

        def from_frames(frames, *args, **options):
            tcp.received += sum(memoryview(frame).nbytes for frame in frames)
            return read(frames, *args, **options)

        tcp.received, tcp.from_frames = 0, from_frames
    return tcp.received


def main():
    load = load_pjm().frame  # hourly MW of 7 zones, 2013 to 2018
    w = sliding_windows(load, lookback=48, horizon=24, stride=24, marginals=["dayofweek"])
    search = GridSearchCV(
        DeepDIVEForecaster(max_epochs=3, random_state=0),
        {"conditional_dim": [8, 32], "beta": [0.1, 1.0]},
        cv=TimeSeriesSplit(n_splits=5, gap=w.embargo),  # 20 fits, 10 for each of two workers
        scoring="neg_mean_absolute_error",
    )
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")
    with cluster, Client(cluster) as client:
        client.run(bytes_received)
        with on_dask(client, w):
            search.fit(w.X, w.y, marginals=w.marginals)
        received = client.run(bytes_received)

    print(f"best: {search.best_params_}, {-search.best_score_:.0f} MW off in the mean")
    for worker, n in received.items():
        print(f"{worker} received {n / 1e6:.1f} MB")
    series = w.X.base.nbytes / 1e6
    print(f"with the series ({series:.1f} MB) in each of its 10 fits: {10 * series:.1f} MB")


if __name__ == "__main__":  # the workers are processes, which import this file
    main()
