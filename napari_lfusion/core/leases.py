"""When to renew a lease, by the client's own clock."""

from __future__ import annotations

from dataclasses import dataclass

from lfusion.protocol import Lease


@dataclass(frozen=True)
class HeldLease:
    """A lease as this client sees it; times in seconds of a monotonic clock.

    Attributes:
        renew_at: Half of its time is over: renew. A failed renewal leaves time for more.
        ends_at: It has ended, and somebody else may have got the image.
    """

    renew_at: float
    ends_at: float

    @classmethod
    def received(cls, lease: Lease, asked_at: float) -> HeldLease:
        """A lease that was asked for at this moment.

        The time of the request counts, not that of the answer, so that a slow answer makes the
        client too careful rather than too late; the clocks of both sides are never compared.
        """
        return cls(asked_at + lease.seconds_left / 2, asked_at + lease.seconds_left)

    def retry_at(self, now: float) -> float:
        """When to try again after a failed renewal: half of what is left, at least a second."""
        return now + max(1.0, (self.ends_at - now) / 2)
