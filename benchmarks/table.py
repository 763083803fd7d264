"""
A result of `vseg bench` as tables of Markdown.

    vseg bench --pipelines iss,ditta --json bench.json
    python benchmarks/table.py bench.json

Prints machine, figures with their quartiles, and what was left out: the tables of
`docs/performance.md` are made so.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vseg_ros.evaluation.bench.results import markdown, read_bench


def main() -> None:
    """Read the file named on the command line and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('result', type=Path, help='written by `vseg bench --json`')
    print(markdown(read_bench(parser.parse_args().result)))


if __name__ == '__main__':
    main()
