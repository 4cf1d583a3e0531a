"""A machine's past as Plotly figures: one of what happened, and one of each GPU (pure)."""
