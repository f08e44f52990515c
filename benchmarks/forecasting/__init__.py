"""DeepDIVE against what people would use instead; `python -m forecasting` runs and tabulates it."""
