"""The command line: `suyuan COMMAND`. Results on stdout, talk on stderr.

Exit codes: 0 done; 1 the answer is no (evidence invalid, no frame accepted, a reading lost); 2 wrong use or
configuration.
A command's module is loaded only when it runs, so that `--help` is quick and the base install can verify.
"""

from __future__ import annotations

import argparse
import importlib
import os
import select
import signal
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from gateway.cli.error_words import told
from gateway.cli.parser import Parser
from gateway.words import phrase

DONE, NO, WRONG_USE = 0, 1, 2
INTERRUPTED = 130  # as shells have it
STDOUT = 1
UNTIL_STOPPED = ("run", "sim", "collect", "platform")  # they load more, then listen to signals themselves

# command: (module, what it does, 中文)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "demo": ("demo", "run the main job on a simulated site", "在模拟现场运行全过程"),
    "init": ("init", "write a first site of your own, simulated", "写出第一个（模拟）现场"),
    "check": (
        "site",
        "check a site file, its ports and certificates; start nothing",
        "检查现场文件、端口与证书，不启动任何东西",
    ),
    "run": ("site", "run the agent on a site", "在现场运行采集代理"),
    "status": (
        "status",
        "ask a running gateway: receipts, hours of buffer, alarms",
        "询问运行中的网关：回执、剩余磁盘小时数、告警",
    ),
    "sim": ("simulate", "run simulated meters behind a site file's ports", "在现场文件的端口后运行模拟仪表"),
    "scan": ("scan", "find the meters on a line and propose profiles", "搜索总线上的仪表并推荐配置"),
    "read": (
        "read",
        "read a meter once: bytes, values, results with U",
        "抄读一块表：报文、示值、带 U 的结果",
    ),
    "decode": ("decode", "decode frames of a protocol", "解码协议报文"),
    "profiles": ("profiles", "list and show meter profiles", "列出与显示仪表配置"),
    "budget": (
        "budget",
        "evaluate a measurement model: the uncertainty budget",
        "评定测量模型：不确定度评定表",
    ),
    "instrument": (
        "instrument",
        "the register of instruments: add, find, replace, label",
        "仪器台账：登记、查询、更换、标签",
    ),
    "certificate": (
        "certificate",
        "certificates: enter, import, export, withdraw",
        "证书：录入、导入、导出、撤销",
    ),
    "chain": ("chain", "the traceability chain of an instrument at a moment", "仪器在某一时刻的溯源链"),
    "due": ("due", "what has to be calibrated, the most urgent first", "待校准清单，最紧迫者在前"),
    "affected": (
        "affected",
        "what leans on a standard or certificate found wrong",
        "标准或证书有误时受影响的数据",
    ),
    "interval": ("interval", "what the drift suggests for the calibration interval", "由漂移建议的校准间隔"),
    "verify": (
        "verify",
        "verify a log, a mirrored copy or an audit bundle",
        "核验日志、其镜像或审计包",
    ),
    "bundle": (
        "bundle",
        "make an audit bundle: one instrument, one HTML file that verifies itself offline",
        "生成审计包：一台仪器、一个可离线自验的网页文件",
    ),
    "key": ("key", "make or show a signing key", "生成或显示签名密钥"),
    "restore": ("restore", "put a gateway's log back from the platform's copy", "用平台副本恢复网关日志"),
    "enrol": (
        "enrol",
        "enrol this gateway at a platform: keys, QR code, certificate",
        "向平台登记本网关：密钥、二维码、证书",
    ),
    "gateways": (
        "gateways",
        "enrol, approve, suspend and list the gateways of a platform",
        "平台侧：受理登记、批准、暂停、列出网关",
    ),
    "collect": (
        "collect",
        "pull, verify and acknowledge a gateway's log (the platform's side)",
        "拉取、核验并回执网关日志（平台侧）",
    ),
    "platform": (
        "platform",
        "many gateways: workers on PostgreSQL, a stream, questions over HTTP",
        "大规模平台：PostgreSQL 上的多工作进程、数据流与查询接口",
    ),
}


class Command(Protocol):
    """A command's module: it declares its arguments and runs."""

    def arguments(self, command: str, parser: argparse.ArgumentParser) -> None:
        """Declare what the command takes."""

    def run(self, command: str, given: argparse.Namespace) -> int:
        """Do it; the exit code."""


def _module(name: str) -> Command:
    return cast(Command, importlib.import_module(f"gateway.cli.{COMMANDS[name][0]}"))


def _overview() -> str:
    chinese = os.environ.get("SUYUAN_LANG", os.environ.get("LANG", "")).lower().startswith("zh")
    lines = [f"  {name:<12}{zh if chinese else en}" for name, (_, en, zh) in COMMANDS.items()]
    usage = (
        "用法：suyuan 命令 [参数]；suyuan 命令 --help"
        if chinese
        else "usage: suyuan COMMAND [ARGUMENTS]; suyuan COMMAND --help"
    )
    codes = (
        "退出码：0 完成，1 结论为否，2 用法或配置错误"
        if chinese
        else "exit codes: 0 done, 1 the answer is no, 2 wrong use or configuration"
    )
    return "\n".join([usage, "", *lines, "", codes])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. A user's mistake is told in words, never as a stack trace."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        # until it is loaded nothing is open that needs an orderly end, and an interrupt that is raised amid an import
        # may be told by the interpreter as a trace
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        code = _answer(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader of our output went away (`| head`): nothing is wrong, and nothing more can be said
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
        return DONE
    except KeyboardInterrupt:
        code = INTERRUPTED
    if arguments is None:  # all is said: a further Ctrl-C shows no trace of the interpreter's end
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        except KeyboardInterrupt:  # it came just now
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        _leave_behind(code)
    return code


def _leave_behind(code: int) -> None:
    """End the process now if a thread of it does not end: the interpreter would wait for it, however long."""
    stopping = sys.modules.get("gateway.cli.stopping")
    if stopping is not None and (left := stopping.threads_left()):
        stopping.say_left(left)
        os._exit(code)


def _answer(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_overview())
        return DONE if argv else WRONG_USE
    if argv[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"suyuan {version('suyuan')}")
        return DONE
    name = argv[0]
    if name not in COMMANDS:
        print(f"suyuan: {phrase('cli.no_command', name=name)}\n\n{_overview()}", file=sys.stderr)
        return WRONG_USE
    try:
        return _run(name, argv[1:])
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in (
            "gateway",
            "drivers",
            "calibration",
            "evidence",
            "central",
            "sim",
        ):
            raise
        print(f"suyuan {name}: {phrase('cli.no_package', package=error.name)}", file=sys.stderr)
        print(f"  → {phrase('cli.install')}", file=sys.stderr)
        return WRONG_USE


def _run(name: str, argv: list[str]) -> int:
    module = _module(name)
    parser = Parser(prog=f"suyuan {name}", description=f"{COMMANDS[name][1]} · {COMMANDS[name][2]}")
    module.arguments(name, parser)
    try:
        given = parser.parse_args(argv)
    except SystemExit as ended:  # argparse has said what was wrong
        return int(ended.code or 0)
    if name not in UNTIL_STOPPED and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return module.run(name, given)
    except (ValueError, OSError, BaseExceptionGroup) as error:
        causes = _causes(error)
        if any(isinstance(cause, BrokenPipeError) for cause in causes) and _output_is_gone():
            raise BrokenPipeError from None
        if not all(map(_is_to_mend, causes)):
            raise
        for words in dict.fromkeys(map(str, causes)):
            print(f"suyuan {name}: {told(words)}", file=sys.stderr)
        return WRONG_USE


def _causes(error: BaseException) -> list[BaseException]:
    """What went wrong in the tasks of a group, each by itself."""
    if isinstance(error, BaseExceptionGroup):
        return [cause for part in error.exceptions for cause in _causes(part)]
    return [error]


def _is_to_mend(error: BaseException) -> bool:
    """Every error of ours that a user can mend is a ValueError with its own words; anything else is a bug."""
    return isinstance(error, OSError) or (
        isinstance(error, ValueError) and type(error).__module__ != "builtins"
    )


def _output_is_gone() -> bool:
    """Whether it is our output that nobody reads any more, and not a meter's or a platform's connection."""
    watch = select.poll()
    watch.register(STDOUT, 0)
    return bool(watch.poll(0))
