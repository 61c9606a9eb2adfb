"""`unstride lab`: interactive pages on transposed convolution, in a browser."""

from __future__ import annotations

import importlib.util
from typing import Any

import click

from ..app.commands.shared import State, console, debug_option, say
from ..app.errors import OptionError

NEEDED = ("marimo", "uvicorn", "starlette", "zmq", "anywidget", "jinja2", "PIL")


@click.command()
@click.argument("chapter", required=False)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="The address to serve at; 0.0.0.0 serves everybody."
)
@click.option("--port", type=click.IntRange(1, 65535), help="Default: 2741, or a free one.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--no-token", is_flag=True, help="Admit everybody who can reach the address.")
@click.option("--token", metavar="TOKEN", help="Admit those who give this. Default: a new one each time.")
@click.option("--edit", is_flag=True, help="Open a copy of the code, in --folder, in marimo's editor.")
@click.option("--folder", default="unstride-lab", show_default=True, help="Folder of --edit. Existing files are kept.")
@debug_option
def lab(chapter: str | None, edit: bool, folder: str, **options: Any) -> int:
    """Open the lab, or a CHAPTER of it (a number or name), in a browser.

    It needs no network, and is served to this machine only, unless --host says otherwise.
    """
    for module in NEEDED:
        if importlib.util.find_spec(module) is None:
            raise OptionError(f'{module} is not installed, which the lab needs; pip install "unstride[app]"')
    if options["no_token"] and options["token"] is not None:
        raise OptionError("--token and --no-token are both given; give one")
    if options["token"] is not None and not options["token"].strip():
        raise OptionError("--token is empty; expected some letters, or --no-token")
    if edit and options["no_token"]:
        raise OptionError(
            "--edit and --no-token are both given: any web page that you visit could then run code on this machine; "
            "leave --no-token out"
        )
    from . import page, server

    try:
        first = server.find(chapter)
        place = server.bind(options["host"], options["port"])
    except server.LabError as error:
        raise OptionError(str(error)) from error
    token = None if options["no_token"] else options["token"] or server.new_token()
    port = place.getsockname()[1]
    screen = console()
    page.for_others(not server.is_local(options["host"]))
    if page.has_others():
        say(screen, "Everybody who can reach this machine, and has the token, can use it." if token else
            "Everybody who can reach this machine can use it: there is no token.")  # fmt: skip
        say(screen, "There they can run any Python as you." if edit else
            "They share its runs: each sees, stops and continues those of the others, too.")  # fmt: skip
    if edit:
        from . import editing

        assert token is not None
        place.close()
        return editing.edit(first, folder, options["host"], port, token, browser=not options["no_browser"])
    say(screen, f"The lab: {server.address(options['host'], port, token, first)}")
    say(screen, "Ctrl-C ends it.")
    debug = click.get_current_context().ensure_object(State).debug
    server.serve(place, options["host"], token, first, browser=not options["no_browser"], debug=debug)
    return 0


COMMANDS = (lab,)
