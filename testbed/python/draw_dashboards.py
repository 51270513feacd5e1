"""Draws dashboards with what their queries gave: `draw_dashboards.py RESULTS.json FOLDER` writes FOLDER/<name>.png for each.

No Grafana: matplotlib draws each panel where its gridPos says, with its units, colours, thresholds, mappings and columns. RESULTS.json is
what `testbed pictures` writes.
"""

import io
import json
import re
import sys
import textwrap
from colorsys import hls_to_rgb, rgb_to_hls
from pathlib import Path

import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot  # noqa: E402
from matplotlib.colors import to_hex, to_rgb  # noqa: E402
from matplotlib.patches import Rectangle  # noqa: E402
from PIL import Image  # noqa: E402

WIDTH = 24
CELL_WIDTH, CELL_HEIGHT = 62, 31  # pixels
DPI = 100
MARGIN = 6
INK, FAINT, BORDER, PAPER, PANEL = "#24292E", "#6E7781", "#D8DEE4", "#F4F5F5", "#FFFFFF"
LINES = {"solid": "-", "dash": (0, (5, 3)), "dot": (0, (1, 2))}
SHADES = (0.38, 0.68, 0.25, 0.55, 0.78, 0.47, 0.32, 0.62, 0.72, 0.42)


# What is shown


def name_of(target, labels):
    """The name of a series in legends."""
    legend = target.get("legendFormat", "__auto")
    if legend == "__auto":
        return ", ".join(f"{key}={value}" for key, value in labels.items() if not key.startswith("__")) or "value"
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), legend).strip()


def series_of(panel, results):
    """Name and points of all series of a panel."""
    for target, found in zip(panel["targets"], results, strict=True):
        for series in found:
            yield name_of(target, series["labels"]), series["points"]


def duration(seconds):
    """As a person says it."""
    sign, seconds = ("-" if seconds < 0 else ""), abs(seconds)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{sign}{seconds / size:.3g} {unit}"
    return f"{sign}{seconds * 1000:.3g} ms"


def plain(value, decimals):
    """A number without a unit."""
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e6 else f"{value:.3g}"


def format_value(value, unit, decimals=None, now=0.0):
    """A value in Grafana's unit."""
    match unit:
        case "percentunit":
            return f"{100 * value:.{1 if decimals is None else decimals}f} %"
        case "s" | "dtdurations":
            return duration(value)
        case "bytes":
            return f"{value / 2**20:.3g} MiB"
        case "currencyUSD":
            return f"${value:,.2f}"
        case "cpm" | "ops" | "reqps":
            return f"{plain(value, decimals)} {({'cpm': '/min'}).get(unit, '/s')}"
        case "dateTimeFromNow":
            ahead = value / 1000 - now
            return f"in {duration(ahead)}" if ahead >= 0 else f"{duration(-ahead)} ago"
        case "bool_yes_no":
            return "Yes" if value else "No"
        case _:
            return plain(value, decimals)


def mapped(value, mappings):
    """Text and colour that a value is mapped to, if it is."""
    keys = (value,) if isinstance(value, str) else (f"{value:g}",)
    for mapping in mappings or ():
        for key in keys:
            if key in mapping["options"]:
                found = mapping["options"][key]
                return found.get("text", key), found.get("color")
    return None


def threshold(value, thresholds):
    """The colour of a value."""
    color = INK
    for step in (thresholds or {}).get("steps", ()):
        if step["value"] is None or value >= step["value"]:
            color = step["color"]
    return color


def looks_of(name, number, panel):
    """Colour and dashes of a series."""
    defaults = panel["fieldConfig"]["defaults"]
    red, green, blue = to_rgb(defaults.get("color", {}).get("fixedColor", INK))
    hue, _, saturation = rgb_to_hls(red, green, blue)
    color, line = to_hex(hls_to_rgb(hue, SHADES[number % len(SHADES)], saturation)), "solid"
    for override in panel["fieldConfig"]["overrides"]:
        matcher = override["matcher"]
        if matcher["id"] == "byRegexp" and re.search(matcher["options"].strip("/"), name):
            for wanted in override["properties"]:
                if wanted["id"] == "color":
                    color = wanted["value"]["fixedColor"]
                if wanted["id"] == "custom.lineStyle":
                    line = wanted["value"]["fill"]
    return color, LINES[line]


def joined(results):
    """One table of the results of all queries: rows that agree in what they share become one."""
    rows = []
    for index, found in enumerate(results):
        value = "Value" if len(results) == 1 else f"Value #{chr(ord('A') + index)}"
        for series in found:
            if not series["points"]:
                continue
            row = {**series["labels"], value: series["points"][-1][1]}
            same = [
                other for other in rows if all(other[key] == row[key] for key in other if key in row) and any(key in row for key in other)
            ]
            for other in same:
                other.update(row)
            if not same:
                rows.append(row)
    return rows


# How it is shown


class Page:
    """A picture, on which panels are drawn by their places."""

    def __init__(self, dashboard):
        self.height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"]) + 2
        self.figure = pyplot.figure(figsize=(WIDTH * CELL_WIDTH / DPI, self.height * CELL_HEIGHT / DPI), dpi=DPI, facecolor=PAPER)
        self.text(0.15, 0.9, dashboard["title"], size=14, weight="bold")

    def pixels(self, x, y, w, h):
        """A rectangle of the grid, below the heading, as matplotlib wants it."""
        return x / WIDTH, 1 - (y + h) / self.height, w / WIDTH, h / self.height

    def text(self, x, y, content, **kwargs):
        """Words at a place of the grid."""
        self.figure.text(x / WIDTH, 1 - y / self.height, content, va="center", color=kwargs.pop("color", INK), **kwargs)

    def frame(self, place):
        """The box of a panel."""
        x, y, w, h = self.pixels(place["x"] + 0.06, place["y"] + 2.06, place["w"] - 0.12, place["h"] - 0.12)
        box = Rectangle((x, y), w, h, facecolor=PANEL, edgecolor=BORDER, linewidth=0.8, transform=self.figure.transFigure)
        box.set_zorder(-1)  # behind the axes
        self.figure.add_artist(box)

    def axes(self, place, left, top, right, bottom):
        """Axes in a panel, with margins in cells."""
        rectangle = self.pixels(place["x"] + left, place["y"] + 2 + top, place["w"] - left - right, place["h"] - top - bottom)
        return self.figure.add_axes(rectangle)


def draw_stat(page, panel, results, _document):
    """One or more numbers."""
    place, defaults = panel["gridPos"], panel["fieldConfig"]["defaults"]
    found = [(name, points[-1][1]) for name, points in series_of(panel, results) if points]
    by_name = panel["options"]["textMode"] == "name"
    x, y = place["x"] + place["w"] / 2, place["y"] + 2 + place["h"] * 0.58
    if not found:
        page.text(x, y, defaults.get("noValue", "–"), size=12, color=FAINT, ha="center")
        return
    words, colors = [], []
    for name, value in found:
        text = mapped(value, defaults.get("mappings"))
        shown, color = text or (format_value(value, defaults["unit"], defaults.get("decimals")), threshold(value, defaults["thresholds"]))
        words.append(name if by_name else f"{name} {shown}" if len(found) > 1 else shown)
        colors.append(color or INK)
    size = 12 if by_name else 19
    page.text(
        x,
        y,
        "\n".join(words) if by_name else "  ".join(words),
        size=size if len(found) == 1 else 15,
        weight="bold",
        color=colors[0],
        ha="center",
    )


def draw_lines(page, panel, results, document):
    """Lines, or areas upon each other, and their legend."""
    place, defaults = panel["gridPos"], panel["fieldConfig"]["defaults"]
    shown = {}
    for name, points in series_of(panel, results):
        if points:
            shown.setdefault(name, []).extend(points)
    shown = {name: sorted(points) for name, points in shown.items()}
    legend_width = min(place["w"] * 0.42, 4.6)
    axes = page.axes(place, 1.35, 1.15, legend_width + 0.35, 0.95)
    minutes = lambda at: (at - document["start"]) * document["scale"] / 60 - document["before"]  # noqa: E731
    stacked = defaults["custom"]["stacking"]["mode"] == "normal"
    looks = {name: looks_of(name, number, panel) for number, name in enumerate(shown)}
    if stacked:
        times = sorted({at for points in shown.values() for at, _ in points})
        heights = [[dict(points).get(at, 0.0) for at in times] for points in shown.values()]
        if times:
            colors = [color for color, _ in looks.values()]
            axes.stackplot([minutes(at) for at in times], heights, colors=colors, alpha=0.85, linewidth=0, step="post")
    else:
        gap = 3 * document["step"]
        for name, points in shown.items():
            color, line = looks[name]
            xs, ys, last = [], [], None
            for at, value in points:
                if last is not None and at - last > gap:
                    xs.append(minutes(at))
                    ys.append(float("nan"))
                xs.append(minutes(at))
                ys.append(value)
                last = at
            lonely = {"marker": ".", "markersize": 4} if len(points) == 1 else {}
            axes.plot(xs, ys, color=color, linestyle=line, linewidth=1.4, **lonely)
    axes.set_xlim(minutes(document["start"]), minutes(document["end"]))
    highest = max((value for points in shown.values() for _, value in points), default=0.0)
    for step in defaults["thresholds"]["steps"]:
        if defaults["custom"]["thresholdsStyle"]["mode"] == "dashed" and step["value"] is not None and step["value"] <= 1.5 * highest:
            axes.axhline(step["value"], color=step["color"], linestyle=(0, (6, 4)), linewidth=0.9)
    low, high = axes.get_ylim()
    axes.set_ylim(0, max(high, 1e-9) if highest > 0 else 1)
    del low
    axes.grid(color=BORDER, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=7, colors=FAINT, length=2)
    axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, integer=defaults["unit"] == "short" and highest >= 4))
    axes.yaxis.set_major_formatter(lambda value, _: format_value(value, defaults["unit"]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} min")
    for side in axes.spines.values():
        side.set_visible(False)
    legend(page, place, legend_width, shown, looks, defaults, stacked)


def legend(page, place, width, shown, looks, defaults, stacked):
    """Names and last values, beside the lines."""
    x, y = place["x"] + place["w"] - width - 0.15, place["y"] + 2 + 1.25
    room = int((place["h"] - 1.6) / 0.62)
    if not shown:
        page.text(place["x"] + 1.5, place["y"] + 2 + place["h"] / 2, "no data", size=10, color=FAINT)
    names = list(shown)
    for number, name in enumerate(names):
        if number == room - 1 and len(names) > room:
            page.text(x + 0.6, y, f"and {len(names) - number} more", size=7, color=FAINT)
            break
        color, line = looks[name]
        left = (x / WIDTH, (x + 0.45) / WIDTH)
        level = 1 - y / page.height
        page.figure.add_artist(
            matplotlib.lines.Line2D(left, (level, level), color=color, linestyle="-" if stacked else line, linewidth=5 if stacked else 1.8)
        )
        value = format_value(shown[name][-1][1], defaults["unit"])
        room_for_name = int(width * 8.6) - len(value) - 5
        short = name if len(name) <= room_for_name else name[: room_for_name - 1] + "…"
        page.text(x + 0.6, y, short, size=7)
        page.text(place["x"] + place["w"] - 0.2, y, value, size=7, ha="right", color=FAINT)
        y += 0.62


def draw_table(page, panel, results, document):
    """Rows and columns."""
    place, defaults = panel["gridPos"], panel["fieldConfig"]["defaults"]
    organize = next(one["options"] for one in panel["transformations"] if one["id"] == "organize")
    rows = joined(results)
    fields = [
        field
        for field in sorted(organize["indexByName"], key=organize["indexByName"].get)
        if not organize["excludeByName"].get(field) and (field.startswith("Value") or any(row.get(field) for row in rows))
    ]
    if not rows:
        page.text(
            place["x"] + place["w"] / 2, place["y"] + 2 + place["h"] / 2, defaults.get("noValue", "–"), size=10, color=FAINT, ha="center"
        )
        return
    columns = {override["matcher"]["options"]: override["properties"] for override in panel["fieldConfig"]["overrides"]}
    headings = {field: organize["renameByName"][field] for field in fields}
    for order in panel["options"]["sortBy"]:
        key = next((field for field, heading in headings.items() if heading == order["displayName"]), None)
        if key:
            rows.sort(key=lambda row: (key not in row, row.get(key, "")), reverse=order["desc"])
    table = []
    for row in rows:
        line = []
        for field in fields:
            wanted = {one["id"]: one["value"] for one in columns.get(headings[field], ())}
            value = row.get(field)
            if value in (None, ""):
                line.append((wanted.get("noValue", ""), FAINT))
            elif text := mapped(value, wanted.get("mappings")):
                line.append((text[0], text[1] or INK))
            elif isinstance(value, str):
                line.append((value, "#0072B2" if "links" in wanted else INK))
            else:
                shown = format_value(value, wanted.get("unit", defaults["unit"]), wanted.get("decimals"), document["end"])
                line.append((shown, threshold(value, wanted["thresholds"]) if "thresholds" in wanted else INK))
        table.append(line)
    widths = [max(len(headings[field]), *(len(line[at][0]) for line in table)) + 3 for at, field in enumerate(fields)]
    factor = (place["w"] - 0.4) / sum(widths)
    y, height = place["y"] + 2 + 1.35, 0.74
    room = int((place["h"] - 2.0) / height)
    x = place["x"] + 0.25
    for field, width in zip(fields, widths, strict=True):
        page.text(x, y, headings[field], size=8, weight="bold")
        x += width * factor
    for number, line in enumerate(table):
        y += height
        if number == room - 1 and len(table) > room:
            page.text(place["x"] + 0.25, y, f"and {len(table) - number} more rows", size=8, color=FAINT)
            break
        x = place["x"] + 0.25
        for (shown, color), width in zip(line, widths, strict=True):
            most = int(width * factor * 8.3)
            page.text(x, y, shown if len(shown) <= most else shown[: most - 1] + "…", size=8, color=color)
            x += width * factor


def draw_timeline(page, panel, results, document):
    """A band for each series, with what it says."""
    place, defaults = panel["gridPos"], panel["fieldConfig"]["defaults"]
    shown = sorted(
        ((name, points) for name, points in series_of(panel, results) if points), key=lambda one: (min(p[1] for p in one[1]), one[0])
    )
    merged = {}
    for name, points in shown:
        merged.setdefault(name, []).extend(points)
    room = min(panel["options"]["perPage"], int((place["h"] - 2.2) / 0.42))
    names = list(merged)[:room]
    axes = page.axes(place, 4.2, 1.15, 0.4, 1.5)
    minutes = lambda at: (at - document["start"]) * document["scale"] / 60 - document["before"]  # noqa: E731
    step = document["step"] * document["scale"] / 60
    for row, name in enumerate(names):
        points = sorted(merged[name])
        begin = 0
        for at in range(1, len(points) + 1):
            broken = at == len(points) or points[at][1] != points[begin][1] or points[at][0] - points[at - 1][0] > 3 * document["step"]
            if broken:
                _, color = mapped(points[begin][1], defaults["mappings"]) or ("", FAINT)
                left, right = minutes(points[begin][0]), minutes(points[at - 1][0]) + step
                axes.barh(row, right - left, left=left, height=0.8, color=color, linewidth=0)
                begin = at
    axes.set_xlim(minutes(document["start"]), minutes(document["end"]))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(labelsize=7, colors=FAINT, length=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} min")
    for side in axes.spines.values():
        side.set_visible(False)
    x, y = place["x"] + 4.2, place["y"] + 2 + place["h"] - 0.35
    for mapping in defaults["mappings"]:
        for found in mapping["options"].values():
            page.text(x, y, "■ " + found["text"], size=8, color=found["color"])
            x += 2.4
    if len(merged) > room:
        page.text(x, y, f"page 1 of {-(-len(merged) // room)}: {len(merged)} in all", size=8, color=FAINT)


def draw_text(page, panel, _results, _document):
    """Words."""
    place = panel["gridPos"]
    content = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", panel["options"]["content"])
    content = re.sub(r"[*`]+", "", content)
    y = place["y"] + 2 + 1.3
    for paragraph in content.splitlines():
        for line in textwrap.wrap(paragraph.strip(), int(place["w"] * 8.6), subsequent_indent="    " if paragraph[:1].isdigit() else ""):
            page.text(place["x"] + 0.3, y, line, size=8)
            y += 0.56
        if not paragraph.strip():
            y += 0.2


DRAWN = {
    "stat": draw_stat,
    "timeseries": draw_lines,
    "table": draw_table,
    "state-timeline": draw_timeline,
    "text": draw_text,
}


def draw(document, folder):
    """One dashboard."""
    dashboard = document["dashboard"]
    results = {found["panel"]: found["targets"] for found in document["results"]}
    page = Page(dashboard)
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        if panel["type"] == "row":
            page.text(place["x"] + 0.15, place["y"] + 2.55, "▾ " + panel["title"], size=11, weight="bold")
            continue
        page.frame(place)
        page.text(place["x"] + 0.25, place["y"] + 2.55, panel["title"], size=9, weight="bold")
        DRAWN[panel["type"]](page, panel, results.get(panel["id"], []), document)
    buffer = io.BytesIO()
    page.figure.savefig(buffer, format="png", facecolor=PAPER)
    pyplot.close(page.figure)
    # A palette makes the file a third as large; this method keeps the colours that few pixels have.
    picture = Image.open(buffer).convert("RGB").quantize(255, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    picture.save(folder / f"{document['name']}.png", optimize=True)


def main():
    """Draws all of them."""
    documents, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    for document in documents:
        draw(document, folder)


main()
