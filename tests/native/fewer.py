"""A pytest plugin for builds that are slow: Hypothesis tries at most 60 examples, whatever a test asks for."""

from hypothesis import settings

MOST = 60
_made = settings.__init__


def _fewer(self, *arguments, **fields):
    if isinstance(fields.get("max_examples"), int):
        fields["max_examples"] = min(fields["max_examples"], MOST)
    _made(self, *arguments, **fields)


settings.register_profile("fewer", settings.get_profile("ci"), max_examples=MOST)
settings.__init__ = _fewer
