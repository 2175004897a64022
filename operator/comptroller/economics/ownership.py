"""What a GPU costs: each hour that it runs (marginal), and with its purchase spread over its life (allocation basis).

An owned GPU's purchase is sunk: whether it runs or not changes only the power bill, so decisions use the marginal
basis. Reports that ask whether to buy use the allocation basis. Money is `Decimal`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from comptroller.api.modelpool import Local
from comptroller.api.settings import AmortisationSettings, EnergySettings, GpuClass, Settings

HOURS_PER_YEAR = Decimal(8760)
WATTS_PER_KILOWATT = Decimal(1000)


@dataclass(frozen=True, slots=True)
class RunningCost:
    """US dollars per hour for one replica: `idle` while it runs at all, `busy_extra` more at full load."""

    idle_usd_per_hour: Decimal
    busy_extra_usd_per_hour: Decimal


def power_usd_per_gpu_hour(watts: float, energy: EnergySettings) -> Decimal:
    """Watts x PUE x price. Worked: 600 W x 1.3 x $0.20/kWh = $0.156/h."""
    return Decimal(str(watts)) / WATTS_PER_KILOWATT * energy.pue * energy.usd_per_kwh


def running_cost(
    gpu_class: GpuClass, energy: EnergySettings, gpus: int, rent_usd_per_gpu_hour: Decimal | None = None
) -> RunningCost:
    """What one replica of `gpus` GPUs costs per hour; with rent if it is rented (None: owned, the purchase is sunk).

    A replica without GPUs (class `cpu`) counts as one unit of its class. Worked: an H100 that idles at 110 W and works
    at 600 W, PUE 1.3, $0.20/kWh: $0.0286/h idle and $0.1274/h more at full load; two of them rented at $4.00: $8.0572/h
    idle and $0.2548/h more.
    """
    units = Decimal(max(gpus, 1))
    idle = power_usd_per_gpu_hour(gpu_class.idle_watts, energy)
    busy = power_usd_per_gpu_hour(gpu_class.busy_watts, energy)
    rent = Decimal(0) if rent_usd_per_gpu_hour is None else rent_usd_per_gpu_hour
    return RunningCost(units * (idle + rent), units * max(busy - idle, Decimal(0)))


def running_cost_of(local: Local, settings: Settings) -> RunningCost:
    """What one replica costs per hour: power, and rent if its GPUs are rented."""
    gpu = settings.gpu_classes[local.accelerator.class_]
    rent = None
    if local.ownership == "rented":
        rent = gpu.rent_usd_per_hour if local.rent_usd_per_gpu_hour is None else local.rent_usd_per_gpu_hour
    return running_cost(gpu, settings.energy, local.accelerator.count, rent)


def allocation_usd_per_gpu_hour(
    gpu_class: GpuClass, amortisation: AmortisationSettings, energy: EnergySettings, utilisation: Decimal = Decimal(1)
) -> Decimal:
    """Purchase less residual value over the years, maintenance, and power at the given utilisation (0..1).

    Worked: $34,000 less 20 % over 4 years of 8760 h is $0.776/h; maintenance of 5 % a year $0.194/h; 600 W at PUE 1.3
    and $0.20/kWh $0.156/h: together $1.126 per GPU-hour.
    """
    price = gpu_class.price_usd
    lost = price * (1 - amortisation.residual_percent / 100) / (amortisation.years * HOURS_PER_YEAR)
    maintenance = price * amortisation.maintenance_percent_per_year / 100 / HOURS_PER_YEAR
    idle = power_usd_per_gpu_hour(gpu_class.idle_watts, energy)
    busy = power_usd_per_gpu_hour(gpu_class.busy_watts, energy)
    return lost + maintenance + idle + utilisation * max(busy - idle, Decimal(0))


def payback_days(
    gpu_class: GpuClass, shadow_usd_per_gpu_hour: Decimal, amortisation: AmortisationSettings, energy: EnergySettings
) -> Decimal | None:
    """After how many days one more GPU has earned its price, if it is worth that much every hour; None if never.

    Worth less power and maintenance, into the price. Worked: $34,000, worth $3.10/h, costs $0.350/h to run: 515 days.
    """
    maintenance = gpu_class.price_usd * amortisation.maintenance_percent_per_year / 100 / HOURS_PER_YEAR
    earned = shadow_usd_per_gpu_hour - power_usd_per_gpu_hour(gpu_class.busy_watts, energy) - maintenance
    return gpu_class.price_usd / earned / 24 if earned > 0 else None
