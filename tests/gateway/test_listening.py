"""`suyuan collect --listen` refuses in words what it cannot do."""

from __future__ import annotations

import pytest

from gateway.cli import main


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ([], "--listen HOST:PORT"),
        (["--listen", "x"], "host:port"),
        (["--listen", "127.0.0.1:0"], "--sign"),
        (["--listen", "127.0.0.1:0", "--sign", "{key}"], "--plain"),
        (["http://x", "--listen", "127.0.0.1:0"], "each with its store"),
        (["--listen", "127.0.0.1:0", "--sign", "{key}", "--plain", "--broker", "http://x"], "mqtts://"),
        (
            [
                "--listen",
                "127.0.0.1:0",
                "--sign",
                "{key}",
                "--certificate",
                "no.pem",
                "--private-key",
                "no.key",
            ],
            "no.pem",
        ),
        (["--listen", "127.0.0.1:0", "--sign", "{key}", "--plain", "--stale", "soon"], "duration"),
        (["--listen", "127.0.0.1:0", "--sign", "{key}", "--plain", "--gateways", "{bad}"], "bad:1: "),
    ],
)
def test_wrong_use_is_told(tmp_path, capsys, arguments, what):
    key = tmp_path / "platform.key"
    assert main(["key", "new", str(key), "--name", "platform.example/receipts", "--receipts"]) == 0
    (tmp_path / "bad").write_text("nonsense\n")
    given = [one.format(key=key, bad=tmp_path / "bad") for one in arguments]
    capsys.readouterr()
    assert main(["collect", *given, "--store", str(tmp_path / "store")]) == 2
    assert what in capsys.readouterr().err
