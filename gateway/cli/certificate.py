"""`suyuan certificate`: certificates entered, imported, exported, shown, withdrawn."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.certificate_form import CERTIFICATE
from gateway.cli import DONE
from gateway.cli.certificate_import import import_certificate
from gateway.cli.certificate_view import paper_of, plain, show_fields, show_points, tell_registered
from gateway.cli.output import UsageError, emit, say
from gateway.cli.register_file import (
    action,
    actor,
    answered,
    form_answers,
    form_arguments,
    on_terminal,
    read_bytes,
    reading,
    table,
    today,
    write_out,
    writing,
)
from gateway.register_words import told, worded
from gateway.words import language

if TYPE_CHECKING:
    from collections.abc import Mapping

    from calibration.certificate import Certificate
    from calibration.register import Register


def arguments(_command: str, parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    parser.epilog = "example:\n  suyuan certificate add --help"
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _entering(actions)
    _showing(actions)


def run(_command: str, given: argparse.Namespace) -> int:
    """Run the action."""
    return answered(given.work, f"certificate {given.action}", given)


def _entering(actions: Any) -> None:
    add = action(
        actions, "add", "register certificates: asked for on a terminal, or from a certificate file · 登记证书",
        "  suyuan certificate add\n  suyuan certificate add NMC-2026-00815.toml --paper NMC-2026-00815.pdf",
        _add, writes=True,
    )  # fmt: skip
    add.add_argument(
        "file", metavar="FILE.toml", type=Path, nargs="?", help="a certificate file, as sites use them"
    )
    add.add_argument("--guided", action="store_true", help="ask for everything that was not given")
    _paper_and_form(add)
    take = action(
        actions, "import", "a certificate from DCC XML, or from CSV or Excel points · 导入证书",
        "  suyuan certificate import dcc.xml --trust lab-roots/ --require-signature\n"
        "  suyuan certificate import points.csv --id NMC-2026-00815 --instrument potline-3-in"
        ' --laboratory "Inner Mongolia metrology institute" --performed 2026-05-01 --k 2\n'
        "  suyuan certificate import certificate.xlsx\n\n"
        "A DCC's as-found results are kept apart from its results. Exit code 1: the signature was not good enough.",
        import_certificate, writes=True,
    )  # fmt: skip
    take.add_argument("file", metavar="FILE.xml|.csv|.xlsx", type=Path)
    take.add_argument(
        "--trust", metavar="PEM|DIR", type=Path, action="append", default=[],
        help="certificates that signers must chain to (default: the directory 'trust' beside the register)",
    )  # fmt: skip
    take.add_argument(
        "--require-signature",
        action="store_true",
        help="register nothing unless its signature is valid and trusted",
    )
    take.add_argument(
        "--repeats",
        choices=["refuse", "mean"],
        default="refuse",
        help="DCC: reference values that stand more than once",
    )
    take.add_argument(
        "--try", dest="trial", action="store_true", help="show what would be registered; write nothing"
    )
    _paper_and_form(take)
    gone = action(
        actions, "withdraw", "take a certificate out of use; needs --reason · 撤销证书",
        '  suyuan certificate withdraw NMC-2026-00815 --reason "k was typed wrongly"', _withdraw, writes=True,
    )  # fmt: skip
    gone.add_argument("id", metavar="ID")


def _paper_and_form(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--paper", metavar="FILE", type=Path, help="the paper (PDF, photo), kept with its SHA-256"
    )
    form_arguments(parser, CERTIFICATE)


def _showing(actions: Any) -> None:
    found = action(
        actions, "list", "certificates, the newest first · 证书清单",
        "  suyuan certificate list --instrument potline-3-in",
        _list,
    )  # fmt: skip
    found.add_argument("--instrument", metavar="ID", default="")
    found.add_argument("--withdrawn", action="store_true", help="the ones out of use too")
    show = action(
        actions, "show", "one certificate: points judged against the MPE, papers, history · 显示证书",
        "  suyuan certificate show NMC-2026-00815\n  suyuan certificate show NMC-2026-00815 --rule guard-band", _show,
    )  # fmt: skip
    show.add_argument("id", metavar="ID")
    show.add_argument(
        "--rule",
        choices=["simple", "guard-band", "guard-band-binary", "one-third"],
        help="decision rule (ILAC-G8)",
    )
    show.add_argument(
        "--paper", metavar="FILE", type=Path, help="write the newest paper that is kept to a file"
    )
    give = action(
        actions, "export", "a certificate as DCC XML, certificate file, Excel, or CSV points · 导出证书",
        "  suyuan certificate export NMC-2026-00815 -o NMC-2026-00815.xml --statement\n"
        "  suyuan certificate export NMC-2026-00815 -o NMC-2026-00815.toml", _export,
    )  # fmt: skip
    give.add_argument("id", metavar="ID")
    give.add_argument("-o", "--output", metavar="FILE.xml|.toml|.xlsx|.csv", type=Path, required=True)
    give.add_argument(
        "--statement", action="store_true", help="XML: with the traceability statement of its day"
    )
    for name in ("responsible", "city", "country", "email", "customer"):
        give.add_argument(f"--{name}", metavar="TEXT", help="XML: what a DCC must say of those behind it")


def _add(given: argparse.Namespace) -> int:
    from gateway.forms import certificate_from

    who = actor(given)
    if given.file is not None:
        return _add_file(given, who)
    answers = form_answers(CERTIFICATE, given)
    with writing(given) as register:

        def save(answers: Mapping[str, str]) -> str:
            made = certificate_from(answers, today(), language())
            register.add_certificate(made, actor=who, reason=given.reason, **paper_of(given))
            return made.id

        if on_terminal() and (given.guided or not answers):
            from gateway.cli.entry import Console, Draft, guided

            draft = Draft(given.register, CERTIFICATE)
            name = guided(CERTIFICATE, Console(), draft, register, language(), save, answers)
            if name is None:
                return DONE
        elif missing := CERTIFICATE.missing(answers):
            raise UsageError(
                f"missing: {', '.join(missing)}; give them as options, a certificate file, or run it on a terminal"
            )
        else:
            name = save(answers)
        tell_registered(register, register.certificate(name), given)
    return DONE


def _add_file(given: argparse.Namespace, who: str) -> int:
    """A certificate file with its instruments: what is registered already and says the same is passed over.

    The paper is the one that is given; without one it is the certificate file itself.
    """
    from gateway.certificate_file import CertificateFile

    file = CertificateFile(given.file)
    if given.paper and len(file.certificates) != 1:
        raise UsageError(f"--paper is for one certificate; {given.file} has {len(file.certificates)}")
    own = read_bytes(given.file)
    digest = sha256(own).hexdigest()
    paper = paper_of(given) or {
        "paper": own, "paper_name": given.file.name, "media_type": "application/toml"
    }  # fmt: skip
    kept = sha256(paper["paper"]).hexdigest()
    certificates = [
        replace(each, digest=kept) if each.digest in {"", digest} else each for each in file.certificates
    ]
    with writing(given) as register:
        known = {instrument.id: instrument for instrument in register.instruments(include_withdrawn=True)}
        new = [instrument for instrument in file.instruments if known.get(instrument.id) != instrument]
        with register.ledger.writing(who, given.reason):
            register.add(instruments=new, certificates=certificates, actor=who, reason=given.reason)
            for each in certificates:
                if given.paper or each.digest == kept:
                    register.attach(
                        paper["paper"], name=paper["paper_name"], media_type=paper["media_type"],
                        certificate=each.id, actor=who, reason=given.reason,
                    )  # fmt: skip
        for instrument in file.instruments:
            say(told("made.instrument" if instrument in new else "seen.instrument", id=instrument.id))
        for certificate in certificates:
            tell_registered(register, certificate, given, quiet=given.json)
        if given.json:
            emit({"instruments": [i.id for i in new], "certificates": [c.id for c in certificates]})
    return DONE


def _withdraw(given: argparse.Namespace) -> int:
    with writing(given) as register:
        register.withdraw_certificate(given.id, actor=actor(given), reason=given.reason)
    say(told("withdrawn", id=given.id))
    return DONE


def _list(given: argparse.Namespace) -> int:
    from calibration.plain import to_plain
    from calibration.records import due_date

    with reading(given) as register:
        if given.instrument:
            register.instrument(given.instrument)
        records = register.certificate_records(instrument=given.instrument)
        records = tuple(each for each in records if given.withdrawn or each.withdrawn is None)
    if given.json:
        emit([plain(each) for each in records])
        return DONE
    heads = ("certificate", "kind", "instrument", "laboratory", "performed", "due", "state")
    rows: list[list[object]] = [[told(f"head.{name}") for name in heads]]
    for each in records:
        c = each.certificate
        state = "" if each.withdrawn is None else told("withdrawn", id=each.withdrawn.at.date())
        rows.append([c.id, c.kind, c.instrument, c.laboratory, c.performed, to_plain(due_date(c)), state])
    table(rows)
    return DONE


def _show(given: argparse.Namespace) -> int:
    from calibration.plain import to_plain

    with reading(given) as register:
        record = register.certificate_record(given.id)
        papers = register.documents(certificate=given.id)
        instrument = register.instrument(record.certificate.instrument)
        history = register.audit("certificate", given.id)
        if given.paper:
            if not papers:
                raise UsageError(f"{given.id}: no paper is kept with it")
            return write_out(given.paper, register.content(papers[-1].digest))
    if given.json:
        emit(plain(record) | {"papers": [to_plain(paper) for paper in papers]})
        return DONE
    show_fields(record.certificate)
    if record.signature is not None:
        check = record.signature
        at: datetime | None = check.at
        basis = (
            f"({check.basis} {at:%Y-%m-%dT%H:%M:%SZ}) {check.signer} {check.reason}" if at else check.reason
        )
        print(told("signature", verdict=check.verdict.value, basis=basis.strip()))
    if (gone := record.withdrawn) is not None:
        print(told("show.withdrawn", at=gone.at.date(), by=gone.by, reason=gone.reason))
    show_points(record.certificate, instrument, given.rule)
    for title, rows in (
        ("show.papers", [[paper.name, paper.media_type, paper.digest] for paper in papers]),
        ("show.history", [[f"{h.at:%Y-%m-%d %H:%M}Z", h.actor, worded(h.action), h.reason] for h in history]),
    ):
        if rows:
            print(f"\n{told(title)}")
            table(rows, "  ")
    return DONE


def _export(given: argparse.Namespace) -> int:
    from gateway.certificate_writing import as_csv, as_excel, as_toml

    suffix = given.output.suffix.lower()
    with reading(given) as register:
        certificate = register.certificate(given.id)
        if suffix == ".xml":
            return write_out(given.output, _dcc(register, certificate, given))
    if suffix == ".toml":
        return write_out(given.output, as_toml(certificate).encode())
    if suffix == ".xlsx":
        return write_out(given.output, as_excel(certificate, language()))
    if suffix == ".csv":
        say(told("toml.points.only"))
        return write_out(given.output, as_csv(certificate, language()))
    raise UsageError(f"{given.output}: .xml (DCC), .toml, .xlsx and .csv are written")


def _dcc(register: Register, certificate: Certificate, given: argparse.Namespace) -> bytes:
    from calibration.chain import trace
    from calibration.dcc_export import Issuer, export_dcc
    from gateway.planning import software

    stated = {
        name: value
        for name in ("responsible", "city", "country", "email", "customer")
        if (value := getattr(given, name))
    }
    issuer = Issuer(software_version=software(), language=language(), **stated)
    chain = trace(register, certificate.instrument, certificate.performed) if given.statement else None
    return export_dcc(certificate, register.instrument(certificate.instrument), issuer, chain=chain)
