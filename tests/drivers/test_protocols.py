"""The protocols by name, behind one interface."""

from __future__ import annotations

import pytest

from drivers import dlt645, modbus, profile, protocols
from drivers.codec import LocalProtocolError
from drivers.profile import Query


@pytest.mark.parametrize("name", protocols.CODECS)
def test_every_codec_offers_the_whole_interface(name):
    codec = protocols.codec(name)
    assert isinstance(codec, protocols.Codec)
    assert codec.name == name
    assert isinstance(codec.decoder(), protocols.Decoder)
    assert codec.decoder() is not codec.decoder()


def test_an_unknown_name_is_told_with_those_that_exist():
    with pytest.raises(ValueError, match="dlt645-2007, dlt645-1997, modbus-rtu"):
        protocols.codec("profibus")


def test_a_query_is_asked_only_in_its_own_protocol():
    voltage = Query("dlt645-2007", (), "02010100")
    registers = Query("modbus", (), "", 3, 0, 2)
    assert protocols.codec("dlt645-2007").request("161", voltage) == dlt645.Request(
        "000000000161", 0x11, "02010100"
    )
    assert protocols.codec("modbus-tcp").request("17", registers) == modbus.Request("17", 3, 0, 2, "tcp")
    for name, query in (("modbus-rtu", voltage), ("dlt645-2007", registers), ("dlt645-1997", voltage)):
        with pytest.raises(LocalProtocolError, match="cannot be asked"):
            protocols.codec(name).request("1", query)


def test_only_modbus_tcp_numbers_its_requests():
    for name, codec in protocols.CODECS.items():
        item = {"dlt645-1997": "9010", "cjt188": "901F"}.get(name, "00010000")
        family = next((f for f in ("iec62056-21", "dlms") if name.startswith(f)), name)
        item = "1-0:1.8.0" if family == "dlms" else item
        query = Query(family, (), item, kind="water")
        request = codec.request("1", Query("modbus", (), "", 3, 0, 2) if "modbus" in name else query)
        assert (codec.numbered(request, 70000) != request) == (name == "modbus-tcp")


def test_the_length_of_an_answer_is_known_where_the_item_says_it():
    codec = protocols.codec("dlt645-2007")
    lengths = {
        item: codec.expected_length(codec.request("1", Query("dlt645-2007", (), item)))
        for item in ("00010000", "02010100", "0201FF00", "06100101")
    }
    assert lengths == {"00010000": 20, "02010100": 18, "0201FF00": None, "06100101": None}
    assert codec.expected_length(dlt645.Request(dlt645.WILDCARD, dlt645.READ_ADDRESS)) == 18


def test_a_dl645_request_goes_out_behind_four_preamble_bytes():
    codec = protocols.codec("dlt645-2007")
    (query,) = profile.plan(profile.load("dlt645-2007-single-phase"), ["energy.active.import"])
    raw = codec.encode(codec.request("123456789012", query))
    assert raw == bytes.fromhex("FE FE FE FE 68 12 90 78 56 34 12 68 11 04 33 33 34 33 68 16")
