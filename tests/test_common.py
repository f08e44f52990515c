"""scikit-learn's own checks, without an expected failure."""

import os

os.environ["SCIPY_ARRAY_API"] = "1"  # or one of the checks is skipped

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skdive import BetaTCVAEForecaster, DeepDIVEEncoder, DeepDIVEForecaster, VAEForecaster


@parametrize_with_checks(
    [
        DeepDIVEForecaster(),
        DeepDIVEEncoder(),
        VAEForecaster(),
        BetaTCVAEForecaster(),
        DeepDIVEForecaster(
            marginal_dim=1,
            conditional_dim=4,
            missing_label=None,
            fusion="concat",
            early_stopping=False,
            max_epochs=10,
        ),
        DeepDIVEEncoder(marginal_dim=2, missing_label=None, early_stopping=True),
    ]
)
@pytest.mark.filterwarnings("ignore:classes of factor:UserWarning")  # data sorted by class
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)
