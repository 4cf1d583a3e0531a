from __future__ import annotations

import random

from tierwatch_dashboard.quantiles import GRID, beyond, quantile, thinned, weighted


def test_a_quantile_is_a_figure_that_was_seen() -> None:
    assert quantile([1, 2, 3, 4], 0.5) == 2
    assert quantile([1, 2, 3, 4], 0.95) == 4
    assert quantile([7], 0.05) == 7


def test_bounds_below_all_figures_say_nothing() -> None:
    assert beyond([8, 9, 10], [5, 5], 0.5) == 9


def test_bounds_above_all_figures_leave_the_largest_needs_unknown() -> None:
    assert beyond([8, 9, 10], [11, 11, 11], 0.5) == 10
    assert beyond([8, 9, 10], [11, 11, 11], 0.95) is None
    assert beyond([], [11], 0.5) is None


def test_figures_that_are_cut_off_are_counted_for_what_they_are_worth() -> None:
    chance = random.Random(8)
    truth = sorted(chance.gauss(10, 1) for _ in range(4000))
    rooms = [chance.choice((9.0, 10.5, 14.0)) for _ in truth]
    values = sorted(need for need, room in zip(truth, rooms, strict=True) if need <= room)
    bounds = sorted(room for need, room in zip(truth, rooms, strict=True) if need > room)
    median, left_out = beyond(values, bounds, 0.5), quantile(values, 0.5)
    assert median is not None
    assert abs(median - 10) < 0.1
    assert left_out < 9.8


def test_thinned_figures_are_spread_as_all_are() -> None:
    many = list(range(100_000))
    assert len(thinned(many)) == GRID
    assert abs(quantile(thinned(many), 0.95) - 95_000) < 1000
    assert thinned([3, 4]) == (3, 4)


def test_weight_counts() -> None:
    assert weighted([(1, 1), (2, 1), (3, 10)], 0.5) == 3
    assert weighted([(3, 1), (1, 1)], 0.05) == 1
