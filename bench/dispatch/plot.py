"""Two evenings drawn side by side: who runs where over time, and who waits. SVG, for light and dark pages."""

from collections.abc import Mapping
from html import escape
from typing import Final

from bench.dispatch.evening import Outcome, Sample
from bench.dispatch.worlds import Fate

_WIDE: Final = 820
_LEFT: Final = 56
_PANEL: Final = 150
_GAP: Final = 62
_COLOURS: Final = ("#3b82f6", "#10b981", "#f59e0b", "#a855f7", "#ef4444")
_STYLE: Final = """
  text { font: 12px system-ui, sans-serif; fill: #1f2937 } .soft { fill: #6b7280 } .title { font-weight: 600 }
  .grid { stroke: #d1d5db; stroke-width: 1 } .bound { stroke: #6b7280; stroke-dasharray: 4 3 }
  .waits { fill: none; stroke: #111827; stroke-width: 1.6 }
  @media (prefers-color-scheme: dark) { text { fill: #e5e7eb } .soft { fill: #9ca3af } .grid { stroke: #374151 }
    .bound { stroke: #9ca3af } .waits { stroke: #f9fafb } }
"""


def drawn(fate: Fate, evenings: Mapping[str, Outcome], least: float) -> str:
    """Stacked by cluster our running tasks, as a line what waits (sent or not), one panel an evening."""
    names = [c.name for c in fate.world.clusters]
    last = max(outcome.makespan for outcome in evenings.values()) * 1.02
    most = max(sum(s.running.values()) for outcome in evenings.values() for s in outcome.samples) or 1
    jobs = len(fate.jobs)
    high = 40 + len(evenings) * (_PANEL + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {high}" role="img">',
        f"<title>{jobs} jobs, scenario “{escape(fate.world.name)}”: running tasks by cluster, and waiting jobs</title>",
        f"<style>{_STYLE}</style>",
    ]
    for n, name in enumerate(names):
        x = _LEFT + n * 92
        parts.append(f'<rect x="{x}" y="10" width="12" height="12" rx="2" fill="{_COLOURS[n % len(_COLOURS)]}"/>')
        times = fate.world.clusters[n].times
        parts.append(f'<text x="{x + 17}" y="20">{escape(name)} ×{times:g}</text>')
    x = _LEFT + len(names) * 92 + 10
    parts.append(f'<path class="waits" d="M{x} 16h18"/><text x="{x + 24}" y="20">waiting jobs (right scale)</text>')
    for n, (rule, outcome) in enumerate(evenings.items()):
        parts.append(_panel(rule, outcome, names, 40 + n * (_PANEL + _GAP), last, most, jobs, least))
    return "\n".join([*parts, "</svg>\n"])


def _panel(
    rule: str, outcome: Outcome, names: list[str], top: int, last: float, most: int, jobs: int, least: float
) -> str:
    bottom, right = top + 20 + _PANEL, _WIDE - 44

    def x(at: float) -> float:
        return round(_LEFT + (right - _LEFT) * at / last, 1)

    def y(value: float, scale: float) -> float:
        return round(bottom - _PANEL * value / scale, 1)

    end = outcome.makespan
    said = f"done after {end / 60:.0f} min, {end / least:.2f} times the bound"
    parts = [
        f'<text class="title" x="{_LEFT}" y="{top + 12}">{escape(rule)}<tspan class="soft"> · {said}</tspan></text>'
    ]
    for part in (0, 0.5, 1):
        level = y(part, 1)
        parts.append(f'<path class="grid" d="M{_LEFT} {level}H{right}"/>')
        parts.append(f'<text class="soft" x="{_LEFT - 6}" y="{level + 4}" text-anchor="end">{most * part:.0f}</text>')
        parts.append(f'<text class="soft" x="{right + 6}" y="{level + 4}">{jobs * part:.0f}</text>')
    minutes = 5 if last < 2400 else 10
    parts += [
        f'<text class="soft" x="{x(at * 60)}" y="{bottom + 16}" text-anchor="middle">{at} min</text>'
        for at in range(0, int(last // 60) + 1, minutes)
    ]
    samples = [s for s in outcome.samples if s.at <= end] + [Sample(end, dict.fromkeys(names, 0), {}, 0, 0)]
    base = [0.0] * len(samples)
    for n, name in enumerate(names):
        above = [low + s.running[name] for low, s in zip(base, samples, strict=True)]
        there = [f"{x(s.at)} {y(v, most)}" for s, v in zip(samples, above, strict=True)]
        back = [f"{x(s.at)} {y(v, most)}" for s, v in zip(samples, base, strict=True)][::-1]
        colour = _COLOURS[n % len(_COLOURS)]
        parts.append(f'<path d="M{"L".join(there)}L{"L".join(back)}Z" fill="{colour}" fill-opacity="0.75"/>')
        base = above
    line = "L".join(f"{x(s.at)} {y(s.waiting + s.unsent, jobs)}" for s in samples)
    parts.append(f'<path class="waits" d="M{line}"/>')
    parts.append(f'<path class="bound" d="M{x(least)} {top + 20}V{bottom}"/>')
    parts.append(f'<text class="soft" x="{x(least) + 4}" y="{top + 32}">bound</text>')
    return "\n".join(parts)
