"""The colours of charts."""

from __future__ import annotations

# Okabe and Ito's colours (2008), which the colour-blind can tell apart, darkened where needed to
# stand out from white as well as from black.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#b5609b", "#a87900", "#7a7a7a")
# How opaque the lines are that only guide the eye.
FAINT = 0.18
