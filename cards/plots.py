"""Pictures of stats.json: lengths by style, difficulty, pass rate by teacher; each as SVG and as PNG.

In: the numbers that the stage `stats` wrote, no rows. Out: six files in `plots/`. The same numbers give the
same bytes, so that a card that is made again changes nothing on the Hub.
"""

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from mixdistill.files import write_bytes
from mixdistill.run import Run
from mixdistill.tables import Stats, TeacherStats, read_stats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Two of Okabe and Ito's colours (2008), which colour-blind people can tell apart.
_STYLE_COLOURS = {"long": "#0072B2", "short": "#E69F00"}
_NAME_CHARS = 30
_SETTINGS: dict[str, object] = {
    "svg.hashsalt": "mixdistill", "font.family": "DejaVu Sans", "font.size": 10, "axes.spines.top": False,
    "axes.spines.right": False, "figure.titlesize": 11, "figure.titleweight": "bold", "legend.frameon": False,
    "text.parse_math": False,
}  # fmt: skip
PLOTS = ("lengths", "difficulty", "pass_rates")


def draw_plots(run: Run) -> list[Path]:
    """Draws all plots of a run; returns the files."""
    import matplotlib
    from matplotlib.figure import Figure

    stats = read_stats(run)
    tall = 1.3 + 0.45 * max(1, len(stats["teachers"]))
    written = []
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)  # names in any script
        matplotlib.rcdefaults()  # the matplotlibrc of this machine must not show
        matplotlib.rcParams.update(_SETTINGS)  # type: ignore[arg-type]
        for name, title, height, draw in (
            ("lengths", "Length of a trace by style", 3.6, _draw_lengths),
            ("difficulty", "Difficulty: share of the problems by pass rate", tall, _draw_difficulty),
            ("pass_rates", "Pass rate by teacher, 95% Wilson interval", tall, _draw_pass_rates),
        ):
            figure = Figure(figsize=(7.0, height), layout="constrained")
            figure.suptitle(title)
            draw(figure.add_subplot(), stats)
            written += _save(figure, run.plots, name)
    return written


def _save(figure: "Figure", folder: Path, name: str) -> list[Path]:
    paths = []
    for kind, metadata in (("svg", {"Date": None, "Creator": None}), ("png", {"Software": None})):
        content = io.BytesIO()
        figure.savefig(content, format=kind, dpi=160, metadata=metadata)
        path = folder / f"{name}.{kind}"
        write_bytes(path, content.getvalue())
        paths.append(path)
    return paths


def _draw_lengths(axes: "Axes", stats: Stats) -> None:
    lengths = stats["lengths"]
    if not lengths["styles"]:
        return _draw_nothing(axes)
    width, n_bins = lengths["bin_width"], max(map(len, lengths["styles"].values()))
    for style, bins in lengths["styles"].items():
        edges = [width * number for number in range(len(bins) + 1)]
        n, colour = sum(bins), _STYLE_COLOURS[style]
        shares = [count / n for count in bins] if n else bins
        axes.stairs(shares, edges, fill=True, alpha=0.55, color=colour, label=f"{style} (n = {n:,})")
        axes.stairs(shares, edges, color=colour, linewidth=1.2)
    unit = "characters" if lengths["unit"] == "chars" else "tokens"
    axes.set(xlabel=f"{unit} (last bin: all longer)", ylabel="share of traces", xlim=(0, width * n_bins))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.legend()


def _draw_difficulty(axes: "Axes", stats: Stats) -> None:
    """A row for each teacher, a column for each bin: readable for one teacher as for twenty."""
    histograms = {teacher: bins for teacher, bins in stats["difficulty"].items() if sum(bins)}
    if not histograms:
        return _draw_nothing(axes)
    shares = [[count / sum(bins) for count in bins] for bins in histograms.values()]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, bins in enumerate(shares):
        for column, share in enumerate(bins):
            if share:
                shown = f"{share:.0%}" if share >= 0.005 else "<1%"
                colour = "white" if share > 0.55 else "black"
                axes.text(column, row, shown, ha="center", va="center", color=colour, fontsize=9)
    edges = range(len(shares[0]) + 1)
    axes.set_xticks([edge - 0.5 for edge in edges], [f"{edge / edges[-1]:.0%}" for edge in edges])
    names = [f"{_short(teacher)}\nn = {sum(bins):,}" for teacher, bins in histograms.items()]
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("pass rate of a problem")
    _hide_frame(axes)


def _draw_pass_rates(axes: "Axes", stats: Stats) -> None:
    teachers = [teacher for teacher in stats["teachers"] if teacher["pass_rate"] is not None]
    if not teachers:
        return _draw_nothing(axes)
    for place, teacher in enumerate(teachers):
        rate, low, high = _interval(teacher)
        colour = _STYLE_COLOURS[teacher["style"]]
        axes.errorbar(
            rate, place, xerr=[[rate - low], [high - rate]], fmt="o", color=colour, capsize=4, markersize=7
        )
        axes.annotate(f"{rate:.0%}", (rate, place), xytext=(0, 8), textcoords="offset points", ha="center")
    labels = [f"{_short(one['teacher'])}\n{one['style']}, n = {one['judged']:,}" for one in teachers]
    axes.set_yticks(range(len(teachers)), labels)
    axes.set(xlabel="correct / judged", xlim=(-0.03, 1.03))  # room for the marks at 0 and at 1
    axes.set_ylim(len(teachers) - 0.5, -0.7)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.grid(axis="x", alpha=0.3)
    _hide_frame(axes)


def _interval(teacher: TeacherStats) -> tuple[float, float, float]:
    return (teacher["pass_rate"] or 0.0, teacher["pass_rate_low"] or 0.0, teacher["pass_rate_high"] or 0.0)


def _short(name: str) -> str:
    """A name that leaves room for the picture beside it."""
    line = " ".join(name.split())
    return line if len(line) <= _NAME_CHARS else f"{line[: _NAME_CHARS - 1]}…"


def _hide_frame(axes: "Axes") -> None:
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)


def _draw_nothing(axes: "Axes") -> None:
    axes.text(0.5, 0.5, "nothing to draw", ha="center", va="center", transform=axes.transAxes)
    axes.set_xticks([])
    axes.set_yticks([])
    _hide_frame(axes)
