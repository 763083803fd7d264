"""`vseg weights`: what is bundled, and where a name leads."""

from __future__ import annotations

import typer

from vseg_ros.weights import BUNDLED, find_weights

weights = typer.Typer(help='List the bundled weights, or find the file behind a name.',
                      no_args_is_help=True)


@weights.command('list')
def list_weights() -> None:
    """List the bundled weights."""
    for name, description in BUNDLED.items():
        typer.echo(f'{name}  {description}')


@weights.command('path')
def path(name: str = typer.Argument(help='Bundled name, path or hub id.')) -> None:
    """Print the file or folder behind a name; a hub id is printed as it is."""
    found = find_weights(name)
    typer.echo(str(found.path or found.name))
