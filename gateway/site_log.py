"""The site file's sections on the log: whose it is, how it is kept, signed and served, and who confirms it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gateway.edge import Duration, Listed, Model
from gateway.site_values import DoorUrl, HostPort, Origin, Positive, ReceiverUrl


class SiteInfo(Model):
    """Who this gateway is: ``origin`` names its log for ever."""

    name: str = Field(min_length=1, max_length=200)
    origin: Origin
    data: str = "data"
    language: Literal["en", "zh"] = "zh"


class KeyConfig(Model):
    """Where the log's key is held: in a file, in a PKCS#11 token (module, label, file of the PIN), sealed by a TPM."""

    held: Literal["file", "pkcs11", "tpm"] = "file"
    module: str = ""
    token: str = ""
    pin_file: str = ""
    tcti: str = "device:/dev/tpmrm0"  # as tpm2-tools write it

    @model_validator(mode="after")
    def _whole(self) -> KeyConfig:
        if self.held == "pkcs11" and not (self.module and self.token and self.pin_file):
            raise ValueError(
                'a token needs module = "/usr/lib/…so", token = "its label" and pin_file = "a file"'
            )
        return self


class LogConfig(Model):
    """``commit`` is the loss window: what was read since the last commit can be lost with the power.

    ``keep``: entries that every platform has confirmed are deleted when they are older; without it all are kept.
    ``key_overlap``: how long checkpoints bear the signatures of both keys after a change of keys.
    ``next_key``: where the key is to be held after ``suyuan key rotate``, if not in the same kind of place.
    ``sm2``: checkpoints bear a second signature, by SM2 with SM3.
    """

    commit: Positive = 1.0
    checkpoint: Positive = 10.0
    checkpoint_entries: int = Field(default=256, ge=1, le=65536)
    aggregate: Positive = 60.0
    keep: Positive | None = None
    key: KeyConfig = KeyConfig()
    next_key: KeyConfig | None = None
    sm2: bool = False
    key_overlap: Duration = 30 * 86400.0

    @model_validator(mode="after")
    def _elsewhere(self) -> LogConfig:
        if self.next_key is not None and self.next_key.held == self.key.held:
            raise ValueError("next_key is for another kind of place than key; to stay there leave it out")
        return self


class ServeConfig(Model):
    """Where checkpoint and tiles are served; with ``certificate`` and ``private_key`` (PEM files) over HTTPS.

    ``clients``: only who shows a certificate of this authority gets in. ``enrolled``: all three are those that came
    with the enrolment.
    """

    listen: HostPort = "127.0.0.1:8475"
    certificate: str | None = None
    private_key: str | None = None
    clients: str | None = None
    enrolled: bool = False


class EnrolmentConfig(Model):
    """Where certificates and the platform's policy come from: the platform's door at ``url``.

    ``ca``: a PEM file that vouches for it, brought by another way. ``addresses``: at which the gateway is reached, for
    its certificate. ``alarm``: how long before its end a certificate that was not renewed is an alarm.
    """

    url: DoorUrl
    ca: str | None = None
    addresses: Annotated[tuple[str, ...], Listed] = ()
    alarm: Positive = 14 * 86400.0


class Platform(Model):
    """A platform whose receipts are accepted: its vkey comes by another way than its data.

    Without ``key`` it is the key of the witness of this name in the policy that came with the enrolment.
    With ``push`` the gateway brings its log there (a platform that cannot reach it); without, the platform fetches it.
    ``ca``, ``certificate`` and ``private_key`` are PEM files; ``rate`` is the most bytes that are sent a second.
    """

    name: str
    key: str = ""
    push: ReceiverUrl | None = None
    ca: str | None = None
    certificate: str | None = None
    private_key: str | None = None
    rate: int | None = Field(default=None, ge=500)
    username: str | None = None
    password_file: str | None = None
    mqtt: Literal["5", "3.1.1"] = "5"
    live: bool = True  # over MQTT: also the present values, on topics that promise nothing
    home_assistant: str | None = None  # the discovery prefix, if values are to appear there by themselves


class CalibrationConfig(Model):
    """Where certificates come from: files beside the site file, or a register, or both."""

    certificates: Annotated[tuple[str, ...], Listed] = ()
    register_file: str | None = Field(default=None, alias="register")
