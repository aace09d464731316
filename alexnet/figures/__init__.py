"""Draws arrays and log lines: kernels (Figure 3 of the paper), pictures with bars and neighbours (4), maps, curves, confusions.

Every function returns a matplotlib Figure with its own canvas, or a uint8 array: no pyplot, nothing global, safe in threads.
Colours are told apart by the colour-blind, and nothing is said by colour alone. It knows no nets.
"""

from alexnet.figures.canvas import INK, MUTED, as_png, as_svg, save
from alexnet.figures.lines import curves, error_curve, loss_curve, rate_curve, rate_range, reliability
from alexnet.figures.matrix import confusion
from alexnet.figures.pictures import looked, neighbours, panels
from alexnet.figures.sheets import colour_selectivity, feature_maps, kernel_sheet, kernels, map_sheet, shades

__all__ = ["INK", "MUTED", "as_png", "as_svg", "colour_selectivity", "confusion", "curves", "error_curve", "feature_maps",
           "kernel_sheet", "kernels", "looked", "loss_curve", "map_sheet", "neighbours", "panels", "rate_curve", "rate_range",
           "reliability", "save", "shades"]
