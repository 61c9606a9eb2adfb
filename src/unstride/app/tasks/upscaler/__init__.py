"""The upscaler: how it is trained, used, judged and reported."""
