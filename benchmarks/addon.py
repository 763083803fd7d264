"""
The add-on's window attention against full attention with a mask, at any size.

    python benchmarks/addon.py [--threads N] [--size HxW]

Full attention at the default size, 480x864, needs some 10 GiB and a minute or two.
"""

from __future__ import annotations

import argparse
import json
import sys

from vseg_ros.commands.bench_run import read_size
from vseg_ros.errors import UserError
from vseg_ros.evaluation.bench.addon import INPUT_SIZE, compare


def main() -> None:
    """Print the numbers as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').strip().splitlines()[0])
    parser.add_argument('--threads', type=int, default=1, help='threads for torch (default 1)')
    parser.add_argument('--size', default='{}x{}'.format(*INPUT_SIZE), help='of the input image')
    chosen = parser.parse_args()
    try:
        numbers = compare(chosen.threads, read_size(chosen.size),
                          lambda text: print(text, file=sys.stderr))
    except UserError as error:
        sys.exit(str(error))
    print(json.dumps(numbers, indent=2))


if __name__ == '__main__':
    main()
