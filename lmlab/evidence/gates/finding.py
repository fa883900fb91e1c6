"""What one check of an audit found, and which of several findings rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

# The worst first.
AuditVerdict = Literal["unattainable", "cannot_fail", "underpowered", "not_audited", "sound"]
SEVERITY: tuple[AuditVerdict, ...] = get_args(AuditVerdict)


@dataclass(frozen=True)
class Finding:
    """One check's verdict, with a sentence made from its figures."""

    check: str
    verdict: AuditVerdict
    reason: str
    figures: Mapping[str, float] = field(default_factory=dict)
    # Sound for some values of what is not measured yet, and not for others: the reason says which.
    conditional: bool = False


def worst(findings: Sequence[Finding]) -> Finding:
    """The finding that rules; of equals the first."""
    return min(findings, key=lambda one: SEVERITY.index(one.verdict))
