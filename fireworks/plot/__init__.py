"""Figures as small specifications: what is computed from a frame, and how it is drawn.

Nothing here knows of experiments: a kind takes a DataFrame and gives one, and draws that.
"""

from fireworks.plot.kinds import KINDS, compute, draw
from fireworks.plot.output import to_html, to_json, to_png
from fireworks.plot.spec import Spec

__all__ = ["KINDS", "Spec", "compute", "draw", "to_html", "to_json", "to_png"]
