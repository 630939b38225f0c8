"""Faults to switch on: named, composable, seeded, pure. `FaultPlan` is asked at every seam; `CATALOG` lists them."""

from tpctl.venue.faults.acts import Act
from tpctl.venue.faults.catalog import CATALOG, FaultKind, Seam, describe_faults, parse_faults
from tpctl.venue.faults.dice import Dice
from tpctl.venue.faults.fates import UNTOUCHED, Canned, Delivery, Fate, LinkFault, Struck
from tpctl.venue.faults.perform import Reply, answered, perform
from tpctl.venue.faults.plan import FaultPlan

__all__ = [
    "CATALOG",
    "UNTOUCHED",
    "Act",
    "Canned",
    "Delivery",
    "Dice",
    "Fate",
    "FaultKind",
    "FaultPlan",
    "LinkFault",
    "Reply",
    "Seam",
    "Struck",
    "answered",
    "describe_faults",
    "parse_faults",
    "perform",
]
