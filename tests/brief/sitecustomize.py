"""Python imports this when it starts: no fit of the process takes more than two epochs."""

from skdive.training import InterleavedNet


def fit_loop(net, *args, whole=InterleavedNet.fit_loop, **kwargs):
    net.max_epochs = min(net.max_epochs, 2)
    return whole(net, *args, **kwargs)


InterleavedNet.fit_loop = fit_loop
