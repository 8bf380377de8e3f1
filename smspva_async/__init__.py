"""An asyncio client and watcher for SMSPVA's number rental API; both run under trio as well.

`SmspvaClient` has a method per call of the API. `Watcher` polls with it and reports what changes as events.

The names are imported when the first one is used, so that `smspva --help` doesn't import them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from smspva_async._public import *  # noqa: F403
    from smspva_async._public import __all__ as __all__
else:

    def __getattr__(name: str) -> object:
        if name == "__all__" or not name.startswith("_"):  # imports ask for private modules
            public = import_module("smspva_async._public")
            for known in ("__all__", *public.__all__):
                globals().setdefault(known, getattr(public, known))  # a test may have replaced one
            if name in globals():
                return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *import_module("smspva_async._public").__all__})
