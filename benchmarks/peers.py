"""How fast skdive trains against other libraries, with networks of about the same size.

Throughput is windows per second that go through a step of the optimiser (skdive: through both
phases), all channels of a time step being in one window; the start of a fit is left out. All have
the same series, batch size and threads, and neither logger, checkpoints nor progress bar. The
libraries have requirements that exclude each other, so each has an environment of its own.
"""

import logging
from importlib.util import find_spec
from time import perf_counter

from compare import paired, ratio_row
from memory import count
from speed import LARGE, Setting

from skdive.datasets import load_pjm

QUIET = dict(accelerator="cpu", logger=False, enable_progress_bar=False)
QUIET |= dict(enable_checkpointing=False, enable_model_summary=False)
LEFT_OUT = 5  # steps at the start of a fit


def installed(library):
    """Whether there is a library to compare with."""
    if find_spec(library) is None:
        print(f"{library}: not installed")
    return find_spec(library) is not None


def clock(ends):
    """A callback of Lightning that notes in a list when each step ended."""
    from pytorch_lightning import Callback

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)

    class Clock(Callback):
        def on_train_batch_end(self, *args):
            ends.append(perf_counter())

    return Clock()


def against(name, n_channels, fit):
    """Compare with the fit of a library, which gets a series, a batch size and a trainer."""
    s = Setting(**LARGE | dict(n_channels=n_channels))
    frame = load_pjm().frame.iloc[: len(s.windows.X.base), :n_channels].astype("float32")

    def theirs():
        ends = []
        theirs.module = fit(frame, s.batch_size, QUIET | dict(callbacks=[clock(ends)]))
        ends = ends[LEFT_OUT:]
        return (ends[-1] - ends[0]) / (len(ends) - 1) * s.n / s.batch_size

    seconds = paired(s.fit_epoch, theirs, 5)
    what = f"training, {s.size}, {count(s.module):,} parameters"
    other = f"{name}, {count(theirs.module):,} parameters"
    yield ratio_row(what, other, seconds, ">= 1", rate=s.n)


def neuralforecast():
    """Against neuralforecast: NHITS for one channel, MLPMultivariate for all."""
    if not installed("neuralforecast"):
        return
    from neuralforecast import NeuralForecast
    from neuralforecast.models import NHITS, MLPMultivariate

    def fit(model, **options):
        def with_series(frame, batch_size, trainer):
            options.update(h=24, input_size=168, windows_batch_size=batch_size, max_steps=40)
            columns = dict(var_name="unique_id", value_name="y", ignore_index=False)
            long = frame.rename_axis("ds").melt(**columns).reset_index()
            forecast = NeuralForecast([model(**options, **trainer)], freq="h")
            forecast.fit(long)
            return forecast.models[0]

        return with_series

    nhits = fit(NHITS, mlp_units=3 * [[176, 176]])
    yield from against("neuralforecast NHITS", 1, nhits)
    mlp = fit(MLPMultivariate, n_series=7, hidden_size=352)
    yield from against("neuralforecast MLPMultivariate", 7, mlp)


def darts():
    """Against darts: NHiTS and TiDE for all channels."""
    if not installed("darts"):
        return
    from darts import TimeSeries
    from darts.models import NHiTSModel, TiDEModel

    def fit(model, **options):
        def with_series(frame, batch_size, trainer):
            options.update(batch_size=batch_size, n_epochs=1, pl_trainer_kwargs=trainer)
            return model(168, 24, **options).fit(TimeSeries.from_dataframe(frame)).model

        return with_series

    yield from against("darts NHiTS", 7, fit(NHiTSModel, layer_widths=150))
    yield from against("darts TiDE", 7, fit(TiDEModel, hidden_size=192))
