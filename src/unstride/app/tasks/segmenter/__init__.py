"""The segmenter: how it is trained, used, judged and reported."""
