"""The reports of trained models: self-contained pages, and the charts in them."""
