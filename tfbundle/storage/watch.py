"""The time limit of a whole HTTP request, beside the limits of the socket, which hold between two packets."""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import suppress


class Watch:
    """Ends a request that takes too long as a whole, however often its server sends a byte."""

    def __init__(self, connection: http.client.HTTPConnection, seconds: float) -> None:
        """Start to count; after ``seconds`` the connection is shut down, and ``is_over`` is true."""
        self._connection = connection
        self.is_over = False
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        self.is_over = True
        socket_ = self._connection.sock
        if socket_ is not None:
            with suppress(OSError):
                socket_.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """End the count, because the request has ended."""
        self._timer.cancel()
