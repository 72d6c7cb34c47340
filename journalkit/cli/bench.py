"""`journalkit bench`: how fast, against whom, with the same durability."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING, Final

from journalkit.cli import codes
from journalkit.cli.arguments import Commands, WrongUsageError, add_command
from journalkit.cli.page import Remarks, show
from journalkit.cli.terminal import is_terminal, say_json, tell
from journalkit.errors import JournalError, UsageError

if TYPE_CHECKING:
    from journalkit.bench.result import Row

_LAYERS: Final = ("frame", "commit", "memtable", "table", "compression", "replay")


def add_parser(commands: Commands) -> None:
    """Register the command."""
    parser = add_command(
        commands,
        "bench",
        "measure against peers and the device, as ratios",
        run=run,
        text=(
            "All contenders take turns; `ratio` is the best other's figure through ours, the median of all rounds, so "
            "above 1 journalkit is better. Goals that say ≤ turn it round. Peers come with the extra "
            "journalkit[bench]. `--rows` lists the rows; a name, the beginning of several, or a pattern selects."
        ),
        example="journalkit bench --quick --plot speed.png\njournalkit bench durable-put 'ycsb-*-zipfian' --json\n"
        "journalkit bench --layer commit",
    )
    parser.add_argument("names", nargs="*", metavar="ROW", help="only these rows")
    parser.add_argument("--rows", action="store_true", help="list the rows and measure nothing")
    parser.add_argument("--quick", action="store_true", help="a few seconds a row, for a look; figures are rough")
    parser.add_argument("--large", action="store_true", help="rows of growth go on to ten million keys")
    parser.add_argument("--plot", metavar="FILE", help="draw the ratios too: .png, .svg or .pdf")
    parser.add_argument("--layer", choices=_LAYERS, help="instead of rows: where the time of one layer goes")
    parser.add_argument(
        "--directory", help="where to write, which names the disk that is measured (default: for temporary files)"
    )


def run(args: argparse.Namespace) -> int:
    """Run, and remove what was written however it ends: being told to stop is what Ctrl-C is."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(args)
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(args: argparse.Namespace) -> int:
    """Run the rows one after the other, and show those that were done whatever ends it."""
    import tempfile

    from journalkit.bench import layers, plot
    from journalkit.bench.arena import Bench
    from journalkit.bench.document import caption, document, layer_document
    from journalkit.bench.registry import NAMES, measure, select
    from journalkit.bench.scale import FULL, QUICK, larger
    from journalkit.cli.bench_page import layer_page, page

    try:
        wanted = select(args.names)
    except UsageError as error:
        raise WrongUsageError(str(error)) from None
    if args.rows:
        chosen = [name for name in NAMES if name in wanted]
        if args.json:
            say_json({"rows": chosen})
        else:
            show([Remarks(chosen)])
        return codes.DONE
    scale = QUICK if args.quick else FULL
    bench = Bench(args.directory or tempfile.gettempdir(), larger(scale) if args.large else scale)
    if args.layer:
        layer = layers.measure(bench, args.layer)
        if args.json:
            say_json(layer_document(bench, layer))
        else:
            show(layer_page(layer))
        return codes.DONE
    if args.plot:
        plot.check(args.plot)
    rows: list[Row] = []
    try:
        for row in measure(bench, wanted):
            rows.append(row)
            if is_terminal(sys.stderr) and not args.json:
                tell(f"{row.name}: {row.verdict}")
    except (JournalError, KeyboardInterrupt):
        if rows and not args.json:
            show(page(rows))
        raise
    if args.plot:
        plot.draw(rows, args.plot, caption(bench))
    if args.json:
        say_json(document(bench, rows))
    else:
        show([*page(rows), Remarks([caption(bench)])])
    return codes.DONE
