import itertools

import pytest

from tally.stock.forecast import days_until_empty, demand, safe_days, spread


def test_demand_stays_within_bounds() -> None:
    assert all(0 <= wanted <= 20 for wanted in itertools.islice(demand(1, 10), 1000))


def test_the_forecast_says_the_same_every_time() -> None:
    assert days_until_empty(500, 10, seed=7) == days_until_empty(500, 10, seed=7)


@pytest.mark.parametrize("mean", [5, 10, 20, 40])
def test_the_stock_lasts_about_as_long_as_the_mean_says(mean: int) -> None:
    days = spread(100 * mean, mean, runs=4000)
    assert 80 < days[len(days) // 2] < 120


def test_safe_days_are_fewer_than_the_median() -> None:
    assert safe_days(1000, 10, runs=4000) < 100
