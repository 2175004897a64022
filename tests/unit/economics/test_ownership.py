"""The worked numbers of the docstrings."""

from __future__ import annotations

from decimal import Decimal

import pytest

from comptroller.api.settings import AmortisationSettings, EnergySettings, built_in_gpu_classes
from comptroller.economics.ownership import (
    allocation_usd_per_gpu_hour,
    payback_days,
    power_usd_per_gpu_hour,
    running_cost,
)

H100 = built_in_gpu_classes()["h100"]
ENERGY = EnergySettings()


def test_power() -> None:
    assert power_usd_per_gpu_hour(600, ENERGY) == Decimal("0.156")


def test_an_owned_gpu_costs_its_power() -> None:
    cost = running_cost(H100, ENERGY, 1)
    assert (cost.idle_usd_per_hour, cost.busy_extra_usd_per_hour) == (Decimal("0.0286"), Decimal("0.1274"))


def test_rent_is_paid_for_every_gpu_whether_it_works_or_not() -> None:
    cost = running_cost(H100, ENERGY, 2, Decimal("4.00"))
    assert (cost.idle_usd_per_hour, cost.busy_extra_usd_per_hour) == (Decimal("8.0572"), Decimal("0.2548"))


def test_a_replica_without_gpus_counts_as_one_unit_of_its_class() -> None:
    cost = running_cost(built_in_gpu_classes()["cpu"], ENERGY, 0)
    assert cost.idle_usd_per_hour == Decimal("0.0026")


def test_the_allocation_basis_has_purchase_maintenance_and_power() -> None:
    usd = allocation_usd_per_gpu_hour(H100, AmortisationSettings(), ENERGY)
    assert float(usd) == pytest.approx(1.126, abs=0.001)
    assert allocation_usd_per_gpu_hour(H100, AmortisationSettings(), ENERGY, Decimal(0)) < usd


def test_one_more_gpu_pays_back_or_never_does() -> None:
    days = payback_days(H100, Decimal("3.10"), AmortisationSettings(), ENERGY)
    assert days is not None
    assert float(days) == pytest.approx(515, abs=1)
    assert payback_days(H100, Decimal("0.10"), AmortisationSettings(), ENERGY) is None
