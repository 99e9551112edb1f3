"""The folders that a walk has been to: a link to a folder above would otherwise lead round without end."""

from __future__ import annotations

from collections.abc import Hashable

from tfbundle.storage.base import Listing, Location


class Visits:
    """Folders that were listed, each once, whatever names lead to it."""

    def __init__(self) -> None:
        self._places: set[Hashable] = set()

    def __len__(self) -> int:
        """Return the number of different folders."""
        return len(self._places)

    def list(self, folder: Location) -> Listing | None:
        """Return the listing of a folder, or ``None`` if it was requested before; raises as ``Location.list`` does."""
        place = folder.place()
        if place in self._places:
            return None
        self._places.add(place)
        return folder.list()
