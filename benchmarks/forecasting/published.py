"""The hyper-parameters that the authors of the networks published, and where.

=================== ============================================================================
NLinear, DLinear    github.com/cure-lab/LTSF-Linear, scripts/EXP-LongForecasting/Linear; the rate is
                    halved after every epoch but the first, and there are 10 (run_longExp.py)
TSMixer             github.com/google-research/google-research, tsmixer/tsmixer_basic,
                    run_tuned_hparam.sh and run.py
iTransformer        github.com/thuml/iTransformer, scripts/multivariate_forecasting (ETT, ECL;
                    Exchange is as ETTh2); the rate is that of NLinear
NHITS               github.com/cchallu/n-hits, nhits_multivariate.py: one of the poolings that the
                    authors search; the rate is halved three times
TiDE                github.com/google-research/google-research, tide/scripts and train.py: the rate
                    falls along a cosine of 30 epochs; batches of 512 windows of a channel, where
                    the authors' loader takes those of one start, which would take days here
PatchTST            github.com/yuqinie98/PatchTST, PatchTST_supervised/scripts; for ETT the rate
                    falls by a tenth per epoch from the fifth on, for electricity it goes through
                    one cycle, of which a fifth is rise
=================== ============================================================================

`batch` counts windows of all channels, or of one channel (NHITS, TiDE). NHITS has 1,000 steps and a
patience of 500, or 10 epochs and 3, whichever is more. The patience is that of the authors, but 5
epochs at most, which is that of DeepDIVE, where they have 10 (PatchTST for electricity), 40 (TiDE,
which is trained for 20 epochs at least, as the authors do for ETTh1) or 100 (PatchTST for ETT).
"""

from math import ceil, cos, pi


def one_cycle(epoch, epochs, rise=0.2):
    """From 1/25 up to 1 and down to almost nothing, along cosines."""
    done = epoch / epochs
    if done < rise:
        return 1 - 0.96 * (1 + cos(pi * done / rise)) / 2
    return (1 + cos(pi * (done - rise) / (1 - rise))) / 2


RATES = {  # the learning rate of an epoch, counted from 0, as a share of the highest one
    "constant": lambda epoch, epochs: 1,
    "halved": lambda epoch, epochs: 0.5 ** max(epoch - 1, 0),
    "halved three times": lambda epoch, epochs: 0.5 ** (4 * epoch // epochs),
    "a tenth less": lambda epoch, epochs: 0.9 ** max(epoch - 3, 0),
    "cosine": lambda epoch, epochs: (1 + cos(pi * epoch / epochs)) / 2,
    "one cycle": one_cycle,
}


def linear(learning_rate, batch):
    """A setting of NLinear and DLinear."""
    return dict(learning_rate=learning_rate, batch=batch, rate="halved", epochs=10)


LINEAR = {
    "ETTh1": linear(0.005, 32),
    "ETTh2": linear(0.05, 32),
    "exchange": linear(0.0005, 8),
    "electricity": linear(0.001, 16),
}


def attention(width, layers, learning_rate, batch):
    """A setting of iTransformer."""
    network = dict(hidden_size=width, d_ff=width, e_layers=layers)
    return dict(network, learning_rate=learning_rate, batch=batch, rate="halved", epochs=10)


def mixer(blocks, dropout, learning_rate):
    """A setting of TSMixer."""
    network = dict(n_block=blocks, dropout=dropout, ff_dim=64)
    return dict(network, learning_rate=learning_rate, batch=32, rate="constant", epochs=100)


def dense(width, output, temporal, dropout, learning_rate):
    """A setting of TiDE."""
    network = dict(hidden_size=width, num_encoder_layers=2, num_decoder_layers=2)
    network |= dict(decoder_output_dim=output, temporal_decoder_dim=temporal, dropout=dropout)
    return dict(network, learning_rate=learning_rate, batch=512, rate="cosine", epochs=30)


def patches(width, feed_forward, heads, dropout, batch, rate):
    """A setting of PatchTST."""
    network = dict(hidden_size=width, linear_hidden_size=feed_forward, n_heads=heads)
    network |= dict(dropout=dropout, fc_dropout=dropout, revin_subtract_last=False)
    return dict(network, learning_rate=1e-4, batch=batch, rate=rate, epochs=100)


SETTINGS = {
    "NLinear": LINEAR,
    "DLinear": LINEAR,
    "TSMixer": {"ETTm2": mixer(2, 0.9, 1e-3), "electricity": mixer(4, 0.7, 1e-4)},
    "iTransformer": {
        "ETTh1": attention(256, 2, 1e-4, 32),
        "ETTh2": attention(128, 2, 1e-4, 32),
        "electricity": attention(512, 3, 5e-4, 16),
    },
    "NHITS": {
        "ETTm2": dict(
            n_pool_kernel_size=[2, 2, 2],
            n_freq_downsample=[24, 12, 1],
            learning_rate=1e-3,
            batch=256,
            rate="halved three times",
            epochs=10,
            steps=1000,
        )
    },
    "TiDE": {
        "ETTh1": dense(512, 32, 16, 0.5, 0.000984894211777642),
        "ETTh2": dense(512, 32, 16, 0.2, 0.00022400011085303776),
        "electricity": dense(1024, 8, 64, 0.5, 0.001),
    },
    "PatchTST": {
        "ETTh": patches(16, 128, 4, 0.3, 128, "a tenth less"),
        "electricity": patches(128, 256, 16, 0.2, 32, "one cycle"),
    },
}
PATIENCE = {"TSMixer": 5, "TiDE": 5, "PatchTST": 5}  # epochs without improvement; else 3
PATIENT_STEPS = {"NHITS": 500}  # the same in steps, where that is more
FEWEST_EPOCHS = {"TiDE": 20}
COUNTS_CHANNELS = ("NHITS", "TiDE")  # their batches are of windows of one channel
SCALED = ("NHITS", "TiDE")  # do not normalise windows by themselves; the library's scaler does

# The settings that a data set may have; all of them, where nothing is said.
OTHER = "other data"
LIKE = {
    "iTransformer": {"ETTh1": ["ETTh1"], "ETTh2": ["ETTh2"], "exchange": ["ETTh2"]}
    | {OTHER: ["electricity", "ETTh1"]},
    "TiDE": {"ETTh1": ["ETTh1"], "ETTh2": ["ETTh2"]},
    "PatchTST": {"ETTh1": ["ETTh"], "ETTh2": ["ETTh"]},
}


def epochs_of(name, training, steps):
    """Epochs of so many steps: at least, at most, and without improvement before the end."""
    most = max(training["epochs"], ceil(training["steps"] / steps))
    patience = max(PATIENCE.get(name, 3), ceil(PATIENT_STEPS.get(name, 0) / steps))
    return FEWEST_EPOCHS.get(name, 0), most, patience


def options(name, data):
    """What to choose from on validation: names of settings, losses, scalers of windows."""
    like = {OTHER: list(SETTINGS[name])} | LIKE.get(name, {})
    choice = {"like": like.get(data, like[OTHER])}
    if name in SCALED:
        choice["scaler"] = ["standard", "robust", "identity"]
    return choice | {"loss": ["MAE", "MSE"]}
