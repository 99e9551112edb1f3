"""Masked CRC-32C, the checksum of tables, bundles and records.

A CRC of data that itself contains CRCs is weak, so LevelDB's formats store a *masked* one: rotated right by 15
bits, plus a constant (LevelDB, ``util/crc32c.h``). The CRC itself comes from the ``crc32c`` package, which uses
the processor's instruction.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np

__all__ = ["crc32c", "join_crcs", "mask", "unmask"]


def _load_crc32c() -> Callable[..., int]:
    """Return the function ``crc32c(data, crc=0)``, from the package's extension module alone if possible.

    Importing the package itself also imports a command line, and with it argparse, email and more, which takes a fifth
    of the time from the start of a process to its first tensor. The module is registered under its own name, as if the
    package had loaded it.
    """
    package = None if "crc32c" in sys.modules else importlib.util.find_spec("crc32c")
    spec = PathFinder.find_spec("crc32c._crc32c", package.submodule_search_locations) if package else None
    if spec is None or spec.loader is None:
        from crc32c import crc32c

        return crc32c
    module = sys.modules.get(spec.name)
    if module is None:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[spec.name] = module
    function: Callable[..., int] = module.crc32c
    return function


crc32c = _load_crc32c()

_MASK_DELTA = 0xA282EAD8


Numbers = TypeVar("Numbers", int, "np.ndarray[Any, np.dtype[np.int64]]")


def mask(crc: Numbers) -> Numbers:
    """Return the masked, stored form of a CRC-32C, or of an array of them."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def unmask(masked: Numbers) -> Numbers:
    """Return the CRC-32C for its masked, stored form, or for an array of them."""
    rotated = (masked - _MASK_DELTA) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


def join_crcs(first: int, second: int, length: int) -> int:
    """Return the CRC-32C of bytes followed by ``length`` others, from the CRC-32C of each."""
    return _multiply(_shift(length), first) ^ second


# CRCs are polynomials over GF(2), of which the highest bit is the coefficient of x^0, and the lowest that of x^31.
_POLYNOMIAL = 0x82F63B78
_ONE, _X8 = 1 << 31, 1 << 23


@lru_cache(64)
def _shift(length: int) -> int:
    """Return x^(8 * length), by which ``length`` bytes that follow multiply a CRC."""
    power, found = _X8, _ONE
    while length:
        if length & 1:
            found = _multiply(power, found)
        power = _multiply(power, power)
        length >>= 1
    return found


def _multiply(a: int, b: int) -> int:
    """Return the product of two polynomials modulo that of CRC-32C."""
    product = 0
    bit = _ONE
    while bit:
        if a & bit:
            product ^= b
        b = (b >> 1) ^ (_POLYNOMIAL if b & 1 else 0)
        bit >>= 1
    return product
