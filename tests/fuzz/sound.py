"""Sound inputs of the targets that have no test vectors in hex: built by the encoders, or by the tests' own."""

from __future__ import annotations

from collections.abc import Mapping

from drivers import hj212, iec104, modbus

ASDUS = (
    "0D 01 03 00 0100 010000 00006643 00",  # a measured value, short float
    "24 01 03 00 0100 010000 00006643 00 16271600180B1A",  # with CP56Time2a
    "0B 82 14 00 0100 0A0000 FFFF 00 0100 00",  # a sequence of scaled values
    "0F 01 25 00 0100 010000 40E20100 85",  # a counter, marked invalid
    "01 02 14 00 0100 010000 01 070000 00",  # single points
    "64 01 06 00 0100 000000 14",  # general interrogation
)
DATA = (
    "06 0001E240",  # double-long-unsigned
    "09 06 202600000011",  # octet-string
    "0A 05 4865 6C6C 6F",  # visible-string
    "02 02 0F FD 16 1E",  # structure: scaler and unit
    "01 03 12 0001 12 0002 12 0003",  # array
    "13 06 03 0000000A 0000000B 0000000C",  # compact array
    "09 0C 07EA 0B 18 02 10 0F 00 00 FE20 00",  # date-time in octets
    "17 43660000",  # float32
    "14 00000000075BCD15",  # long64
    "0F F6",
    "00",
)
RTD = {
    "DataTime": "20261124160000",
}
HEAD = {
    "QN": "20261124160000123", "ST": "31", "CN": "2011", "PW": "123456", "MN": "010000A8900016F000169DC0",
}  # fmt: skip


def sound(name: str) -> list[bytes]:
    """The inputs of a target; none if it has its own."""
    if name == "hj212":
        return _packets()
    if name == "hj212-sm4":
        from tests.drivers.test_hj212_sm4 import PLAIN, SEALED, sealed

        return [SEALED, sealed(rest_inside=False, ends_inside=True, counts_sent=True), PLAIN + SEALED]
    if name == "iec104":
        frames = [iec104.build(bytes.fromhex(asdu)) for asdu in ASDUS]
        return [
            *frames,
            bytes.fromhex("68 04 07 00 00 00 68 04 0B 00 00 00 68 04 01 00 02 00"),
            b"".join(frames),
        ]
    if name == "iec104-asdu":
        return [bytes.fromhex(asdu) for asdu in ASDUS]
    if name == "dlms-axdr":
        return [bytes.fromhex(data) for data in DATA]
    if name == "dlms-session":
        from tests.fuzz import dlms_session

        return dlms_session.seeds()
    if name == "modbus-ascii":
        return _ascii()
    if name == "sml":
        from tests.drivers.test_sml import CLOSED, ENERGY, MAKER, NOTHING, OPENED, POWER, listed

        return [listed(ENERGY, POWER, MAKER, NOTHING), listed(ENERGY) + listed(POWER), OPENED + CLOSED]
    if name == "proof":
        from tests.evidence.test_note import offline_proof

        return [offline_proof(17, 40), offline_proof(0, 1)]
    if name == "dcc":
        from tests.calibration import test_dcc

        bad = test_dcc.dcc(test_dcc.TYPICAL.replace("0.072", "a"))
        return [test_dcc.dcc(test_dcc.TYPICAL), test_dcc.dcc(test_dcc.table(test_dcc.ERROR)), bad]
    return []


def _packets() -> list[bytes]:
    """HJ 212: real-time data of each edition, a message in two segments, a heartbeat, an answer."""

    def data(**fields: str) -> Mapping[str, str]:
        return {key.replace("_", "-"): value for key, value in fields.items()}

    co2 = data(a05001_Rtd="196429.0", a05001_Flag="N")
    flow = data(a00000_Rtd="12.5", a00000_Cou="750", a00000_Flag="M")
    times: Mapping[str, str] = RTD
    one = hj212.build({**HEAD, "Flag": "5"}, (times, co2, flow))
    old = hj212.build(HEAD, (times, data(S02_Rtd="3.4", S02_Flag="D")))
    hour = hj212.build(
        {**HEAD, "CN": "2061", "Flag": "9"}, (times, data(a05001_Min="1", a05001_Avg="2", a05001_Max="3"))
    )
    parts = [
        hj212.build({**HEAD, "Flag": "7", "PNUM": "2", "PNO": str(n)}, groups)
        for n, groups in ((1, (times, co2)), (2, (flow,)))
    ]
    beat = hj212.build({**HEAD, "ST": "91", "CN": "9015", "Flag": "9"})
    return [one, old, hour, b"".join(parts), beat, one + b"#" + hour]


def _ascii() -> list[bytes]:
    """Modbus ASCII: requests with their answers, a refusal, two exchanges in one stream."""
    found = []
    for function, start, values in ((3, 0, b"\x00\x01\x00\x02"), (4, 72, b"\x46\x40\xe6\xb8")):
        request = modbus.Request("7", function, start, len(values) // 2, "ascii")
        found.append(modbus.encode(request) + modbus.answer(request, values))
        found.append(modbus.encode(request) + modbus.refusal(request, 2))
    return [*found, b"".join(found)]
