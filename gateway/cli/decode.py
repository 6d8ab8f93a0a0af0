"""`suyuan decode`: frames of a protocol, as the driver would read them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from gateway.cli import DONE, NO
from gateway.cli.output import UsageError, emit

EPILOG = """examples:
  suyuan decode dlt645-2007 "FE FE 68 12 90 78 56 34 12 68 91 08 33 33 34 33 89 67 45 33 54 16" --json
  suyuan decode modbus-rtu "01 04 00 0C 00 02 B1 C8 01 04 04 43 C9 AA 46 C1 6C" --registers eastron-sdm630
  cat capture.hex | suyuan decode modbus-tcp -
  suyuan decode hj212 --sm4-key stack.key < packets.txt

Exit code 1 if no frame was accepted."""


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument(
        "protocol", metavar="PROTOCOL", help="the protocol's name; an unknown one lists those known"
    )
    parser.add_argument(
        "frame",
        metavar="FRAME",
        nargs="?",
        default="-",
        help="hex or text; '-' reads standard input, hex, text or bytes",
    )
    parser.add_argument(
        "--registers", metavar="PROFILE", help="profile (name or file) that names Modbus registers"
    )
    parser.add_argument(
        "--sm4-key",
        metavar="FILE",
        type=Path,
        help="HJ 212-2025: the key of a logger that encrypts, in a file: 32 hex digits or 16 characters",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def run(_command: str, given: argparse.Namespace) -> int:
    """Decode and print; 1 if not one frame was accepted."""
    from drivers.decode import decode_capture, parse_hex_or_text, parse_input
    from drivers.profile import load

    piped = sys.stdin.buffer.read() if given.frame == "-" else None
    if not (given.frame if piped is None else piped).strip():
        raise UsageError("there is no frame to decode: give it as hex, or '-' and standard input")
    registers = load(given.registers) if given.registers else None
    key = _key(given.sm4_key) if given.sm4_key else b""
    try:
        data = parse_hex_or_text(given.frame) if piped is None else parse_input(piped)
        decoded = decode_capture(given.protocol, data, registers, sm4_key=key).to_json()
    except ValueError as error:
        raise UsageError(str(error)) from None
    if given.json:
        emit(decoded)
    else:
        _show(decoded)
    return DONE if decoded["frames"] else NO


def _key(path: Path) -> bytes:
    from drivers.hj212_sm4 import sm4_key

    try:
        return sm4_key(path.read_text(encoding="ascii"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: a key of SM4 has 16 octets: 32 hex digits, or 16 characters") from None
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None


def _show(decoded: dict[str, Any]) -> None:
    for frame in decoded["frames"]:
        error = f"  error: {frame['error']}" if frame.get("error") else ""
        print(f"{frame['address']}  function {frame['function']}  {frame.get('direction', '')}{error}")
        for item in frame["items"]:
            value = (
                item["value"]
                if item["value"] is not None
                else item.get("text") or f"missing: {item.get('missing')}"
            )
            print(
                f"    {item['item']:<12} {item['measurand'] or '-':<28} {value} {item['unit'] or ''}".rstrip()
            )
    for reject in decoded["rejected"]:
        detail = f": {reject['detail']}" if reject["detail"] else ""
        print(f"rejected at byte {reject['offset']}: {reject['reason']}{detail}")
    if not decoded["frames"]:
        print("no frame was accepted")
