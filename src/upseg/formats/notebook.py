"""What a notebook shows of a segmentation: its labels in colour, and a table of the largest segments."""

from __future__ import annotations

import base64
import html
import io

from PIL import Image

from upseg.formats.colours import segment_colours
from upseg.formats.overlay import draw_labels
from upseg.segmentation import Segmentation

_LONGEST_SIDE = 512  # pixels of the picture
_ROWS = 8


def picture_of(segmentation: Segmentation) -> bytes:
    """The labels in colour as PNG, its longer side at most 512 pixels.

    Example:
        >>> import numpy as np
        >>> picture_of(Segmentation.from_labels(np.array([[7, 0]])))[1:4]
        b'PNG'
    """
    if segmentation.labels.size == 0:
        raise ValueError(f"a segmentation of {segmentation.shape} pixels has nothing to show")
    picture = Image.fromarray(draw_labels(segmentation))
    picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.NEAREST)
    data = io.BytesIO()
    picture.save(data, format="PNG")
    return data.getvalue()


def html_of(segmentation: Segmentation) -> str:
    """The picture and, beside it, the largest segments as a table.

    Example:
        >>> import numpy as np
        >>> "2 segments" in html_of(Segmentation.from_labels(np.array([[7, 9]])))
        True
    """
    height, width = segmentation.shape
    coded = base64.b64encode(picture_of(segmentation)).decode() if segmentation.labels.size else ""
    picture = f'<img src="data:image/png;base64,{coded}" style="max-width:50%">' if coded else ""
    largest = sorted(segmentation, key=lambda segment: -segment.area)[:_ROWS]
    colours = segment_colours(segmentation).tolist() if len(segmentation) else []
    cells = ["<tr><th></th><th>id</th><th>area</th><th>class</th><th>score</th></tr>"]
    for segment in largest:
        colour = "#{:02x}{:02x}{:02x}".format(*colours[segment.id - 1])
        name = html.escape(segment.category.name) if segment.category else ""
        score = "" if segment.score is None else f"{segment.score:.2f}"
        cells.append(
            f'<tr><td style="background:{colour}">&nbsp;&nbsp;</td><td>{segment.id}</td><td>{segment.area}</td>'
            f"<td>{name}</td><td>{score}</td></tr>"
        )
    rest = len(segmentation) - len(largest)
    more = f"<p>and {rest} smaller</p>" if rest else ""
    return (
        f"<div><p>{len(segmentation)} segments, {height} x {width} pixels</p>"
        f'<div style="display:flex;gap:1em">{picture}<div><table>{"".join(cells)}</table>{more}</div></div></div>'
    )
