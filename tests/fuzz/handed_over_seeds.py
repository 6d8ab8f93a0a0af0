"""Sound inputs of the targets in ``handed_over``: built as whoever hands them over would."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import (
    CertificateSigningRequestBuilder,
    DNSName,
    Name,
    NameAttribute,
    SubjectAlternativeName,
)
from cryptography.x509.oid import NameOID

from drivers import opcua_points
from evidence import enrolment, log
from gateway import advice, mirroring
from tests.evidence.logs import ORIGIN, Writer, signer
from tests.fuzz.handed_over import NODE

JSON = (
    {"ENERGY": {"Power": 1234.5}, "total_kwh": "88.10", "params": [{"u": 2301}]},
    {"ENERGY": {"Power": True}, "total_kwh": None, "params": [{"u": 1e3}]},
)
CSV = (
    "load,error,U,k\n5,0.12,0.05,2\n10,-0.03,0.05,2\n",
    "测量点;示值误差;扩展不确定度;包含因子\n100;0,1;0,05;2\n",
    "quantity\tload\tpower_factor\tcorrection\tU\tk\nenergy.active\t1\t0.5\t-0.1\t0.06\t2\n",
)
PASTED = ("5 0.12 0.05\n10 -0.03 0.05\n", "load\terror\tU\tk\n5\t0.12\t0.05\t2\n", "1; 0.5; 0.1; 0.06; 2\n")
EXPRESSIONS = ("V/R", "sqrt(3)*U*I*cos(phi)", "a**2 + min(b, 1.5e-3) - abs(-c)", "atan2(y, x) * (1 + k)")
FRAMES = (
    "68 12 90 78 56 34 12 68 11 04 33 33 34 33 E8 16",
    "0x01,0x03,0x04,0x00,0x01,0x00,0x02,0x2A,0x32",
    "##0010QN=1;CP=&&&&1234",
    ":010300000001FB\\r\\n",
    "/ISk5ME382-1000\\r\\n",
    "\\x02F.F(00)\\r\\n!\\r\\n\\x03$",
)
SCENARIO = (
    'seed = 7\n[[fault]]\nkind = "late"\nmeter = "a"\nfrom_s = 1\nto_s = 9.5\nshare = 0.2\ndelay_ms = 900\n'
)


def _words(*values: int) -> bytes:
    return struct.pack(f">{len(values)}H", *values)


def _sunspec() -> list[bytes]:
    from tests.drivers.test_sunspec import model_1, model_203, model_213

    head = list(struct.unpack(">2H", b"SunS"))
    return [_words(*head, *model_1(), *meter, 0xFFFF, 0) for meter in (model_203(), model_213())]


def _opcua() -> list[bytes]:
    values = (("Double", "12.5", 0), ("Int32", "-7", 0x408F0000), ("Float", "NaN", 0), ("String", '"4.5"', 0))
    lines = [
        opcua_points.encode(opcua_points.Notification(node, kind, value, status, 1_782_000_000_250_000))
        for node in (NODE, "i=85")
        for kind, value, status in values
    ]
    return [*lines, b"".join(lines[2:6])]


def _tiles() -> list[bytes]:
    entries = [b"one", b"", b"three" * 50]
    return [
        bytes((2,)) + log.encode_bundle(entries),
        bytes((1,)) + bytes(64),
        b"tile/0/x001/x234/067.p/5",
        b"tile/entries/000",
    ]


def _request() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    named = CertificateSigningRequestBuilder().subject_name(
        Name([NameAttribute(NameOID.COMMON_NAME, "gw-1")])
    )
    named = named.add_extension(SubjectAlternativeName([DNSName("gw-1.example")]), critical=False)
    return named.sign(key, SHA256()).public_bytes(serialization.Encoding.DER)


def _enrolments() -> list[bytes]:
    by = signer()
    bare = enrolment.Application(by.verifier)
    return [
        bare.signed_by(by),
        enrolment.Application(by.verifier, 3, _request(), ("a statement\n",)).signed_by(by),
    ]


def _offers() -> list[bytes]:
    head = Writer().grow(5).files()["checkpoint"]
    return [b"old 0\n\n" + head, b"old 3\n" + base64.b64encode(bytes(32)) + b"\n\n" + head]


def _deliveries() -> list[bytes]:
    offer = _offers()[0]
    entries = log.encode_bundle([b"entry"] * 5)
    body = mirroring.upload_head(ORIGIN, 0, 5) + entries + b"\0"
    deflate = zlib.compressobj(wbits=31)
    packed = deflate.compress(body) + deflate.flush()
    return [len(offer).to_bytes(4, "big") + offer + packed]


def _advice() -> list[bytes]:
    from tests.gateway.test_advice import CONTENT
    from tests.gateway.test_advice import ORIGIN as OF

    return [advice.written(CONTENT, OF)]


def _states() -> list[bytes]:
    from tests.calibration.test_energy import state_of

    return [state_of().to_json(), state_of(ratio="400").to_json()]


def _certificates() -> list[bytes]:
    from tests.gateway.test_config import CERTIFICATE

    return [CERTIFICATE.encode()]


def _dcc() -> list[bytes]:
    from tests.calibration import test_dcc

    whole = test_dcc.dcc(test_dcc.TYPICAL, conditions=test_dcc.before_adjustment(test_dcc.TYPICAL))
    return [test_dcc.dcc(test_dcc.TYPICAL), whole]


def _texts(*texts: str) -> Callable[[], list[bytes]]:
    return lambda: [text.encode() for text in texts]


def _keys() -> tuple[str, str]:
    return signer().verifier.vkey, signer("other.example/log", 2).verifier.vkey


def _policies() -> list[bytes]:
    first, second = _keys()
    return [
        f"log {first}\nquorum none\n".encode(),
        f"log {first}\nlog {second}\n# nobody\nquorum none\n".encode(),
    ]


SEEDS: Mapping[str, Callable[[], list[bytes]]] = {
    "sunspec": _sunspec,
    "json-message": lambda: [json.dumps(one).encode() for one in JSON],
    "opcua": _opcua,
    "tile": _tiles,
    "certificates": _certificates,
    "dcc-points": _dcc,
    "calibration-state": _states,
    "table": _texts(*CSV),
    "pasted": _texts(*PASTED),
    "expression": _texts(*EXPRESSIONS),
    "scenario": _texts(SCENARIO),
    "enrolment": _enrolments,
    "enrolment-answer": lambda: [
        b'{"origin":"a.example/gw","certificate":"pem","authority":"pem","policy":"quorum none\\n"}'
    ],
    "policy": _policies,
    "revocation": lambda: [
        f"{_keys()[0]} {b}\n".encode() for b in ("size 7", "witnessed-before 2026-11-24T10:00:00Z")
    ],
    "verifier": lambda: [key.encode() for key in _keys()],
    "registry": lambda: ["{}\nsuspended {} # why\n".format(*_keys()).encode()],
    "request": lambda: [_request()],
    "offer": _offers,
    "delivery": _deliveries,
    "mirror": _texts("120\n64\ndGlja2V0\n", "5\n0\n\n"),
    "advice": _advice,
    "pasted-frames": _texts(*FRAMES),
}
