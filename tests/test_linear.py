import pytest
import torch
from torch.testing import assert_close

from skdive.layers import norm_windows
from skdive.linear import ClassRidge, GatedPath, LinearPath, components


def randomise(*modules):
    for module in modules:
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter)


def test_the_linear_path_starts_by_repeating_the_last_step():
    x = torch.randn(5, 3, 10)
    assert torch.equal(LinearPath(10, 4)(norm_windows(x)), x[:, :, -1:].expand(5, 3, 4))


def test_the_linear_path_continues_each_channel_from_its_level():
    path, weights = LinearPath(10, 4), torch.randn(11, 4)
    path.set_weights(weights)
    x = torch.randn(5, 3, 10)
    level = x[:, :, -1:]

    assert_close(path(norm_windows(x)), level + (x - level) @ weights[:10] + weights[10])


def test_the_gated_path_adds_nothing_at_the_start():
    path = GatedPath(10, 4, width=6)
    assert (path(norm_windows(torch.randn(5, 3, 10)), torch.randn(5, 6)) == 0).all()


def test_the_gated_path_is_linear_in_the_window_and_in_the_gates():
    path, fused = GatedPath(10, 4, width=6), torch.randn(5, 6)
    randomise(path)
    window = norm_windows(torch.randn(5, 3, 10))
    features, gates = path.read(window.values), path.gate(fused)
    expected = torch.einsum("bcr,br,hr->bch", features, gates, path.write.weight)
    expected = (expected + path.write.bias) * window.scale.unsqueeze(2)

    assert_close(path(window, fused), expected)


@pytest.fixture
def ridge():
    start = LinearPath(10, 4)
    ridge = ClassRidge(start, [torch.randn(50, 3, 10)], [torch.randn(50, 2, 4)], [2, 3])
    randomise(start)
    ridge.weights.normal_()
    return ridge


def forecast(ridge, x, codes):
    with torch.no_grad():
        window = norm_windows(x)
        return ridge(window, window.of(torch.tensor([2, 0])), codes)


def test_maps_of_all_windows_and_of_the_class_of_each_factor_add_up(ridge):
    x, codes = torch.randn(6, 3, 10), torch.tensor([[0, 2], [1, 0]] * 3)
    change = x - x[:, :, -1:]
    parts = torch.einsum("bcl,lp,cq->bqp", change, ridge.steps, ridge.channels).flatten(1)
    features = torch.cat([parts, torch.full((6, 1), 3.0)], dim=1)
    rows = torch.stack([torch.zeros(6, dtype=torch.long), 1 + codes[:, 0], 3 + codes[:, 1]])
    added = torch.einsum("bf,kbfo->bo", features, ridge.weights[rows])
    added = torch.einsum(
        "bsr,ts,hr->bth", added.unflatten(1, (2, 4)), ridge.future_channels, ridge.future_steps
    )
    with torch.no_grad():
        expected = ridge.start(norm_windows(x[:, [2, 0]])) + added

    assert_close(forecast(ridge, x, codes), expected, atol=1e-4, rtol=1e-4)


def test_an_unknown_class_adds_nothing(ridge):
    x, unknown = torch.randn(6, 3, 10), torch.full((6, 2), -1)
    ridge.weights[0] = 0
    with torch.no_grad():
        assert torch.equal(forecast(ridge, x, unknown), ridge.start(norm_windows(x[:, [2, 0]])))
    assert not torch.allclose(forecast(ridge, x, unknown.clamp(0)), forecast(ridge, x, unknown))


def test_the_forecast_moves_with_the_level(ridge):
    x, codes = torch.randn(6, 3, 10), torch.ones(6, 2, dtype=torch.long)
    assert_close(forecast(ridge, x + 7, codes), forecast(ridge, x, codes) + 7, atol=1e-3, rtol=1e-3)


def test_components_are_those_of_the_singular_value_decomposition():
    x = torch.randn(40, 3, 10, dtype=torch.float64) * torch.arange(1.0, 11)
    x *= torch.tensor([3.0, 1, 0.3]).unsqueeze(1)
    channels, steps = components([x[:30], x[30:]])
    for found, flat in ((channels, x.transpose(1, 2)), (steps, x)):
        expected = torch.linalg.svd(flat.flatten(0, 1)).Vh.T
        assert_close((found.T @ expected).abs(), torch.eye(len(expected)).double())


def test_futures_are_written_as_they_were_condensed():
    y = torch.randn(50, 2, 4)
    ridge = ClassRidge(LinearPath(10, 4), [torch.randn(50, 3, 10)], [y], [])
    assert_close(ridge.write(ridge.condense(y)), y, atol=1e-5, rtol=1e-5)


def test_a_factor_of_many_classes_has_no_maps():
    x, y = torch.randn(50, 3, 10), torch.randn(50, 2, 4)
    ridge = ClassRidge(LinearPath(10, 4), [x], [y], [65, 2])
    randomise(ridge.start)
    ridge.weights.normal_()
    codes = torch.tensor([[64, 0], [3, 0], [0, 1]])

    assert [len(ridge.maps(f)) for f in range(3)] == [1, 0, 2]
    same = codes * torch.tensor([0, 1])
    assert torch.equal(forecast(ridge, x[:3], codes), forecast(ridge, x[:3], same))
    assert not torch.allclose(forecast(ridge, x[:3], 1 - same), forecast(ridge, x[:3], same))
