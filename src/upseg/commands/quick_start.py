"""Commands that compute start, and end, without what they do not need."""

from __future__ import annotations

import atexit
import gc
import sys

from upseg.lazy import DeferredModules

# What torch, numpy and scipy import and nothing here uses (`benchmarks/startup.py` says what it costs); of torch for
# the versions of which it is known that their own modules do not miss it.
_TORCH_VERSIONS = ("2.15.",)
_DEFERRED = (
    DeferredModules(
        ("torch.export", "torch.distributions", "torch._meta_registrations"),
        lambda: str(sys.modules["torch"].__version__).startswith(_TORCH_VERSIONS),
    ),
    DeferredModules(("numpy.f2py", "scipy.spatial.transform")),
)
_OBJECTS = 50_000  # made before Python looks for cycles among them: imports make many, and no cycles


def start_quickly() -> None:
    """Let the imports of this process leave out what segmenting does not need."""
    gc.set_threshold(_OBJECTS)
    atexit.register(_end_quickly)
    sys.meta_path[:0] = [finder for finder in _DEFERRED if finder not in sys.meta_path]


def _end_quickly() -> None:
    """Spare the process a last search for cycles among all that torch has made."""
    if "triton" not in sys.modules:  # which would call its own objects leaked
        gc.freeze()
