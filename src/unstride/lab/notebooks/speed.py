# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""Chapter 10 of the lab: what is computed, what is avoided, and how long it takes on this machine."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="10. How fast", css_file="lab.css")


@app.cell(hide_code=True)
def _():
    import statistics
    from dataclasses import replace
    from html import escape

    import marimo as mo

    import unstride as us
    from unstride._messages.wording import counted
    from unstride.lab import page
    from unstride.lab.content import benchmark, drawings

    page.header("speed")
    return benchmark, counted, drawings, escape, mo, page, replace, statistics, us


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    The zero-spaced grid of chapter 2 consists mostly of zeros, and multiplying by them is most of the work. Consider
    the output instead. With a stride $s$ and a dilation $d$, cell $o$ is reached only by the taps $j$ with $j\,d \equiv
    o + b \pmod s$, where $b$ is the number of cells cropped at the beginning. So the output divides into **phases**,
    $s$ along each axis, and each phase is a small dense convolution of the input with some of the kernel's taps. No
    zero is stored or multiplied.
    """)
    return


@app.cell(hide_code=True)
def _(benchmark, mo):
    layer = mo.ui.dropdown(list(benchmark.LAYERS), value=next(iter(benchmark.LAYERS)), label="Layer", full_width=True)
    layer
    return (layer,)


@app.cell(hide_code=True)
def _(benchmark, layer, page):
    start = benchmark.LAYERS[layer.value]
    size = page.slider(4, 96, value=start.size, label="Input side", show_value=True)
    kernel = page.slider(1, 16, value=start.kernel, label="Kernel k", show_value=True)
    stride = page.slider(1, 8, value=start.stride, label="Stride s", show_value=True)
    padding = page.slider(0, 7, value=start.padding, label="Padding p", show_value=True)
    return kernel, padding, size, start, stride


@app.cell(hide_code=True)
def _(kernel, padding, page, replace, size, start, stride, us):
    setting = replace(start, size=size.value, kernel=kernel.value, stride=stride.value, padding=padding.value)
    try:
        plan = us.plan(setting.x_shape, setting.kernel_shape, setting.geometry)
        _shown = page.html("")
    except ValueError as _error:
        plan, _shown = None, page.problem(_error, name="plan")
    _shown
    return plan, setting


@app.cell(hide_code=True)
def _(drawings, kernel, mo, padding, page, plan, size, stride):
    _controls = page.stack(size, kernel, stride, padding)
    mo.stop(plan is None, _controls)
    _all = plan.multiply_adds + plan.avoided
    _result = mo.vstack(
        [
            page.facts(
                {
                    "Multiply-adds avoided": f"{100 * plan.avoided / _all:.1f}%",
                    "On the zero-spaced grid": f"{_all:,}",
                    "Done": f"{plan.multiply_adds:,}",
                    "Output": " × ".join(map(str, (plan.batch, *plan.big, plan.c_big))),
                    "Passes": " × ".join(str(len(passes)) for passes in plan.passes),
                },
                name="plan",
            ),
            page.figure(
                drawings.phases(plan),
                "The first cells of the output: a colour for each pass, and the number of products in a cell for "
                "each input channel. Near the border fewer copies overlap, so those cells have fewer. On the "
                "zero-spaced grid each cell would have one for every tap, "
                f"{plan.geometry.kernel_size[0] * plan.geometry.kernel_size[1]}.",
                name="phases",
            ),
            mo.accordion({"All that us.plan says": page.code(str(plan))}),
        ]
    )
    page.split_view(_controls, _result)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## On this machine, now

    A single layer, forward pass, float32, on the CPU. All take turns in a separate process. The bars end at the median,
    and the lines reach from the fastest round to the slowest. Other load on the machine changes these numbers a lot:
    where two lines overlap, neither is proven faster. Results are compared before the measurement.
    """)
    return


@app.cell(hide_code=True)
def _(benchmark, mo, page, us):
    _here = benchmark.installed()
    _chosen = [name for peer, name in _here.items() if peer in ("torch", "onnxruntime")]
    peers = mo.ui.multiselect(
        {name: peer for peer, name in _here.items()}, value=_chosen or list(_here.values())[:1], label="Compare with"
    )
    threads = page.slider(1, max(us.get_num_threads(), 2), value=us.get_num_threads(), label="Threads", show_value=True)
    go = mo.ui.run_button(label="Run the benchmark")
    mo.hstack([peers, threads, go], wrap=True, justify="start", align="end", gap=1.5)
    return go, peers, threads


@app.cell(hide_code=True)
def _(benchmark, counted, drawings, escape, go, mo, page, peers, plan, setting, statistics, threads):
    mo.stop(plan is None)
    mo.stop(not go.value, page.note("Nothing measured yet with this setting.", name="benchmark"))
    _rounds, _differences, _unable, _failed = [], {"ours": 0.0}, [], None
    with mo.status.spinner("Starting", remove_on_exit=True) as _spinner:
        for _message in benchmark.run(setting, list(peers.value), threads.value):
            if "starting" in _message:
                _spinner.update(f"Importing {_message['starting']}")
            elif "ready" in _message:
                _differences[_message["ready"]] = _message["difference"]
            elif "unable" in _message:
                _unable.append(f"{benchmark.PEERS[_message['unable']][0]} could not: {_message['why']}")
            elif "failed" in _message:
                _failed = _message["failed"]
            else:
                _rounds.append(_message["milliseconds"])
                _spinner.update(f"Round {_message['round']}")
    if _failed or not _rounds:
        _shown = page.problem(f"The benchmark did not finish: {_failed}", name="benchmark")
    else:
        _names = {"ours": "unstride"} | {peer: name for peer, (name, _) in benchmark.PEERS.items()}
        _bars, _rows = [], []
        for _peer in _rounds[0]:
            _times = [times[_peer] for times in _rounds]
            _ratios = sorted(times[_peer] / times["ours"] for times in _rounds)
            _middle = statistics.median(_times)
            _bars.append((_names[_peer], min(_times), _middle, max(_times), f"{_middle:.3g} ms"))
            _rows.append(
                (
                    _names[_peer],
                    f"{_middle:.3g}",
                    f"{min(_times):.3g} to {max(_times):.3g}",
                    f"{2 * plan.multiply_adds / _middle / 1e6:.3g}",
                    ""
                    if _peer == "ours"
                    else f"{statistics.median(_ratios):.2g} ({_ratios[0]:.2g} to {_ratios[-1]:.2g})",
                    "" if _peer == "ours" else f"{_differences[_peer]:.0e}",
                )
            )
        _shown = mo.vstack(
            [
                page.figure(drawings.bars(_bars, "Median time of a call", "milliseconds"), name="bars"),
                page.table(
                    ["", "ms", "from, to", "GFLOP/s done", "time ÷ ours", "largest difference"],
                    _rows,
                    f"{counted(len(_rounds), 'round')} on {counted(threads.value, 'thread')}",
                    numbers=range(1, 6),
                    name="benchmark",
                ),
                *(page.note(escape(line)) for line in _unable),
            ]
        )
    _shown
    return


@app.cell(hide_code=True)
def _(page):
    page.footer("speed")
    return


if __name__ == "__main__":
    app.run()
