"""
`vseg`: offline what the nodes do live.

Every command lives in a file of its own under `commands/`. Whatever a user can get wrong ends in
one line on standard error and exit code 2; the other codes stand in `commands/ending.py`.
"""

from __future__ import annotations

import logging

import typer

from vseg_ros.commands.bag import bag
from vseg_ros.commands.bench import bench
from vseg_ros.commands.convert import convert
from vseg_ros.commands.demo import demo
from vseg_ros.commands.ending import ends_cleanly
from vseg_ros.commands.evaluate import evaluate
from vseg_ros.commands.export import export
from vseg_ros.commands.query import query
from vseg_ros.commands.replay import replay
from vseg_ros.commands.train import train
from vseg_ros.commands.weights import weights

app = typer.Typer(
    help='Video segmentation a robot can trust: replay bags, score them, train and measure.',
    no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    context_settings={'help_option_names': ['-h', '--help']})
for command in (demo, bag, replay, query, evaluate, bench):
    app.command()(command)
app.add_typer(train, name='train')
app.add_typer(export, name='export')
app.add_typer(convert, name='convert')
app.add_typer(weights, name='weights')


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.WARNING, format='%(message)s')
    with ends_cleanly():
        app()


if __name__ == '__main__':
    main()
