"""Public fakes: what journalkit is proved with, for your tests too.

`SimulatedDisk` is a file system that can lose power, fail, fill up, rot, put
sectors where they don't belong and turn read-only, and that tells its story;
`SimulatedClock` a clock that goes where it is told; `SimulatedBucket` object
storage that loses replies, answers late and ignores conditions. Nothing in the
package imports this folder.
"""

from __future__ import annotations

from journalkit.testing.clock import SimulatedClock
from journalkit.testing.disk import SimulatedDisk
from journalkit.testing.faults import PowerCut
from journalkit.testing.medium import Chooser
from journalkit.testing.objects import SimulatedBucket, SimulatedObjects

__all__ = ["Chooser", "PowerCut", "SimulatedBucket", "SimulatedClock", "SimulatedDisk", "SimulatedObjects"]
