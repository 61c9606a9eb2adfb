"""The reports of trained models: self-contained pages and their charts."""
