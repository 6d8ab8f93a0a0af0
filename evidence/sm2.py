"""Verification of SM2 signatures with SM3 (GB/T 32918.2, GB/T 32905): the second line that a log may bear.

Only verification, of public values: nothing here is secret, so that whole numbers of Python are good enough (some 10 ms
a signature). Signing is done by OpenSSL, outside this package. The curve is that of GB/T 32918.5.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from cryptography.hazmat.primitives.hashes import SM3, Hash

SIGNATURE_SIZE: Final = 64  # r and s, 32 bytes each, big-endian
POINT_SIZE: Final = 65  # 04, x, y
DEFAULT_ID: Final = b"1234567812345678"  # the signer's identity that GM/T 0009 sets where none was agreed

_P: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
_A: Final = _P - 3
_B: Final = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
_N: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
_GX: Final = 0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7
_GY: Final = 0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0

_Point: TypeAlias = tuple[int, int, int]  # Jacobian; z = 0 is the point at infinity
_INFINITY: Final[_Point] = (1, 1, 0)


def sm3(data: bytes) -> bytes:
    """The SM3 hash, 32 bytes."""
    digest = Hash(SM3())
    digest.update(data)
    return digest.finalize()


def is_point(public: bytes) -> bool:
    """Whether these bytes are a public key: an uncompressed point on the curve."""
    if len(public) != POINT_SIZE or public[0] != 4:
        return False
    x, y = int.from_bytes(public[1:33], "big"), int.from_bytes(public[33:], "big")
    return x < _P and y < _P and (y * y - x * x * x - _A * x - _B) % _P == 0


def verify(public: bytes, message: bytes, signature: bytes, identity: bytes = DEFAULT_ID) -> bool:
    """Whether ``signature`` (r, s) is that of ``public`` (04, x, y) over ``message`` (GB/T 32918.2, clause 7)."""
    if len(signature) != SIGNATURE_SIZE or not is_point(public):
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    t = (r + s) % _N
    if not 0 < r < _N or not 0 < s < _N or not t:
        return False
    curve = b"".join(number.to_bytes(32, "big") for number in (_A, _B, _GX, _GY))
    z = sm3((8 * len(identity)).to_bytes(2, "big") + identity + curve + public[1:])
    e = int.from_bytes(sm3(z + message), "big")
    x, y = int.from_bytes(public[1:33], "big"), int.from_bytes(public[33:], "big")
    found = _sum_of(s, (_GX, _GY, 1), t, (x, y, 1))
    if not found[2]:
        return False
    return (e + found[0] * pow(found[2], -2, _P) % _P) % _N == r


def _double(point: _Point) -> _Point:
    x, y, z = point
    if not y or not z:
        return _INFINITY
    square = y * y % _P
    beta = 4 * x * square % _P
    slope = 3 * (x - z * z) * (x + z * z) % _P  # a = -3
    across = (slope * slope - 2 * beta) % _P
    return across, (slope * (beta - across) - 8 * square * square) % _P, 2 * y * z % _P


def _add(one: _Point, two: _Point) -> _Point:
    if not one[2]:
        return two
    if not two[2]:
        return one
    z1, z2 = one[2] * one[2] % _P, two[2] * two[2] % _P
    u1, u2 = one[0] * z2 % _P, two[0] * z1 % _P
    s1, s2 = one[1] * z2 * two[2] % _P, two[1] * z1 * one[2] % _P
    if u1 == u2:
        return _double(one) if s1 == s2 else _INFINITY
    h, r = (u2 - u1) % _P, (s2 - s1) % _P
    h2 = h * h % _P
    h3, v = h * h2 % _P, u1 * h2 % _P
    x = (r * r - h3 - 2 * v) % _P
    return x, (r * (v - x) - s1 * h3) % _P, h * one[2] * two[2] % _P


def _sum_of(a: int, one: _Point, b: int, two: _Point) -> _Point:
    """``a`` times one point and ``b`` times another, bit by bit together (Shamir's trick)."""
    both, found = _add(one, two), _INFINITY
    for bit in range(max(a.bit_length(), b.bit_length()) - 1, -1, -1):
        found = _double(found)
        step = (a >> bit & 1) | (b >> bit & 1) << 1
        if step:
            found = _add(found, (one, two, both)[step - 1])
    return found
