"""The traceability chain drawn: the instrument below, what it leans on above it, the national standard at the top.

Plain SVG, made here, nothing fetched: it opens in a browser and prints in black and white. A state is told by a word
and by the shape of its sign (tick, half disc, cross) and the line of its frame, and never by colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from unicodedata import east_asian_width

from calibration.chain import Chain, Edge, Status, Step
from calibration.words import say

_BOX_W, _GAP_X, _GAP_Y, _MARGIN, _LINE = 300, 36, 84, 24, 18
_FONT = "system-ui, 'Noto Sans SC', 'Microsoft YaHei', sans-serif"
_COLOURS = {Status.VALID: "#1a6b3c", Status.INCOMPLETE: "#8a5a00", Status.BROKEN: "#a11d1d"}
_DASHES = {
    Status.VALID: "",
    Status.INCOMPLETE: ' stroke-dasharray="7 4"',
    Status.BROKEN: ' stroke-dasharray="2 3"',
}
_COLUMNS = 40  # characters of half width that fit into a box


@dataclass(slots=True)
class _Box:
    """A box of the drawing: its layer counts from the instrument up."""

    key: str
    title: str
    lines: list[str]
    status: Status
    layer: int = 0
    x: float = 0.0
    y: float = 0.0

    @property
    def height(self) -> float:
        return 40 + _LINE * len(self.lines)


@dataclass(frozen=True, slots=True)
class _Link:
    below: str
    above: str
    label: str
    status: Status


def draw(chain: Chain, language: str = "en") -> str:
    """The chain as an SVG document."""
    boxes, links = _collect(chain, language)
    _layer(boxes, links)
    width, height = _place(list(boxes.values()), links)
    title = f"{chain.instrument.id} · {chain.at.isoformat()} · {say(chain.status.value, language)}"
    lang = "zh-CN" if language == "zh" else "en"
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}"'
            f' height="{height:.0f}" role="img" lang="{lang}" font-family="{_FONT}" font-size="13">'
        ),
        f"<title>{_text(title)}</title>",
        f"<desc>{_text(chain.tree(language))}</desc>",
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
    ]
    parts += [_draw_link(boxes, link) for link in links]
    parts += [_draw_box(box, language) for box in boxes.values()]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _collect(chain: Chain, language: str) -> tuple[dict[str, _Box], list[_Link]]:
    instrument = chain.instrument
    name = " ".join(part for part in (instrument.manufacturer, instrument.model, instrument.serial) if part)
    reasons = [reason.text(language) for reason in chain.reasons]
    foot = _Box("instrument", instrument.id, _wrapped([name, chain.at.isoformat(), *reasons]), chain.status)
    boxes, links = {foot.key: foot}, []
    pending: list[tuple[str, str, Status, Step]] = [
        ("instrument", "", step.status, step) for step in chain.steps
    ]
    while pending:
        below, label, status, step = pending.pop(0)
        # Asked about on two days, a certificate is one box if the answer is the same.
        key = f"{step.certificate.id} {step.status.value} {step.reasons}"
        links.append(_Link(below, key, label, status))
        if key in boxes:
            continue
        boxes[key] = _step_box(key, step, language)
        for number, edge in enumerate(step.edges):
            label = say(edge.evidence.value, language)
            if edge.above is not None and not edge.reasons:
                pending.append((key, label, edge.status, edge.above))
                continue
            missing = f"{key} ? {number}"
            boxes[missing] = _edge_box(missing, edge, language)
            links.append(_Link(key, missing, label, edge.status))
            if edge.above is not None:
                pending.append((missing, "", edge.above.status, edge.above))
    return boxes, links


def _step_box(key: str, step: Step, language: str) -> _Box:
    certificate = step.certificate
    due = "" if step.due is None else f" … {step.due.isoformat()}"
    lines = [certificate.id, certificate.laboratory, f"{certificate.performed.isoformat()}{due}"]
    lines += [reason.text(language) for reason in step.reasons]
    return _Box(key, step.instrument.id, _wrapped(lines), step.status)


def _edge_box(key: str, edge: Edge, language: str) -> _Box:
    return _Box(
        key,
        edge.standard or edge.parent or "?",
        _wrapped([r.text(language) for r in edge.reasons]),
        edge.status,
    )


def _layer(boxes: dict[str, _Box], links: Sequence[_Link]) -> None:
    """Each box one layer above the highest that leans on it; boxes are few, links form no circle that grows."""
    for _ in boxes:
        moved = False
        for link in links:
            wanted = boxes[link.below].layer + 1
            if boxes[link.above].layer < wanted <= len(boxes):
                boxes[link.above].layer, moved = wanted, True
        if not moved:
            return


def _place(boxes: Sequence[_Box], links: Sequence[_Link]) -> tuple[float, float]:
    layers: dict[int, list[_Box]] = {}
    for box in boxes:
        layers.setdefault(box.layer, []).append(box)
    widest = max(len(row) for row in layers.values())
    width = 2 * _MARGIN + widest * _BOX_W + (widest - 1) * _GAP_X
    y = float(_MARGIN)
    by_key = {box.key: box for box in boxes}
    for layer in sorted(layers, reverse=True):
        for box in layers[layer]:
            box.y = y
        y += max(box.height for box in layers[layer]) + _GAP_Y
    for layer in sorted(layers):  # below first: a standard stands over those that use it
        row = layers[layer]
        if layer:
            row.sort(key=lambda box: _mean([by_key[k.below].x for k in links if k.above == box.key]))
        free = width - 2 * _MARGIN - len(row) * _BOX_W
        for number, box in enumerate(row):
            box.x = _MARGIN + free / 2 - (len(row) - 1) * _GAP_X / 2 + number * (_BOX_W + _GAP_X)
    return width, y - _GAP_Y + _MARGIN


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else 0.0


def _draw_box(box: _Box, language: str) -> str:
    colour = _COLOURS[box.status]
    word = say(box.status.value, language)
    sign_x, sign_y = box.x + 18, box.y + 18
    parts = [
        (
            f'<g><rect x="{box.x:.1f}" y="{box.y:.1f}" width="{_BOX_W}" height="{box.height:.0f}" rx="6" fill="#ffffff"'
            f' stroke="{colour}" stroke-width="2"{_DASHES[box.status]}/>'
        ),
        _sign(box.status, sign_x, sign_y),
        f'<text x="{box.x + 34:.1f}" y="{box.y + 23:.1f}" font-weight="600">{_text(_cut(box.title, 24))}</text>',
        (
            f'<text x="{box.x + _BOX_W - 10:.1f}" y="{box.y + 23:.1f}" text-anchor="end" fill="{colour}">'
            f"{_text(word)}</text>"
        ),
    ]
    parts += [
        f'<text x="{box.x + 12:.1f}" y="{box.y + 42 + _LINE * number:.1f}" fill="#222222">{_text(line)}</text>'
        for number, line in enumerate(box.lines)
    ]
    return "\n".join([*parts, "</g>"])


def _sign(status: Status, x: float, y: float) -> str:
    colour = _COLOURS[status]
    ring = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" fill="none" stroke="{colour}" stroke-width="1.6"/>'
    match status:
        case Status.VALID:
            inside = f"M{x - 4:.1f} {y:.1f} l3 3.4 l5 -6.4"
        case Status.INCOMPLETE:
            return f'{ring}<path d="M{x:.1f} {y - 8:.1f} a8 8 0 0 1 0 16 z" fill="{colour}"/>'
        case Status.BROKEN:
            inside = f"M{x - 3.6:.1f} {y - 3.6:.1f} l7.2 7.2 m0 -7.2 l-7.2 7.2"
    return f'{ring}<path d="{inside}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _draw_link(boxes: dict[str, _Box], link: _Link) -> str:
    below, above = boxes[link.below], boxes[link.above]
    x1, y1, x2, y2 = below.x + _BOX_W / 2, below.y, above.x + _BOX_W / 2, above.y + above.height
    middle = (y1 + y2) / 2
    colour = _COLOURS[link.status]
    line = (
        f'<path d="M{x1:.1f} {y1:.1f} C{x1:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {y2:.1f}" fill="none"'
        f' stroke="{colour}" stroke-width="1.8"{_DASHES[link.status]}/>'
    )
    if not link.label:
        return line
    width = _columns(link.label) * 7 + 8
    x, y = (x1 + x2) / 2, middle
    return (
        f'{line}<rect x="{x - width / 2:.1f}" y="{y - 11:.1f}" width="{width}" height="18" fill="#ffffff"/>'
        f'<text x="{x:.1f}" y="{y + 3:.1f}" text-anchor="middle" font-size="12" fill="#444444">'
        f"{_text(link.label)}</text>"
    )


def _columns(text: str) -> int:
    return sum(2 if east_asian_width(c) in "WF" else 1 for c in text)


def _cut(text: str, columns: int) -> str:
    if _columns(text) <= columns:
        return text
    while text and _columns(text) > columns - 1:
        text = text[:-1]
    return text + "…"


def _wrapped(lines: Sequence[str]) -> list[str]:
    """Lines broken where they fit: at spaces, and between characters in Chinese."""
    made = []
    for line in lines:
        rest = line.strip()
        while _columns(rest) > _COLUMNS:
            end = len(rest)
            while _columns(rest[:end]) > _COLUMNS:
                end -= 1
            space = rest.rfind(" ", 1, end + 1)
            end = space if space > end // 2 else end
            made.append(rest[:end].rstrip())
            rest = rest[end:].lstrip()
        if rest:
            made.append(rest)
    return made


def _text(text: str) -> str:
    """Text that XML can hold: escaped, control characters struck out."""
    return escape("".join(c if c.isprintable() or c == "\n" else "�" for c in text), quote=True)
