"""Prints one dashboard as JSON: `python3 -m dashboards platform`, in the folder `grafana`."""

import json
import sys

from . import account, operator, platform

DASHBOARDS = {"account": account, "operator": operator, "platform": platform}


def main() -> None:
    """Prints the dashboard that the one argument names."""
    if len(sys.argv) != 2 or sys.argv[1] not in DASHBOARDS:
        sys.exit(f"usage: python3 -m dashboards {'|'.join(DASHBOARDS)}")
    print(json.dumps(DASHBOARDS[sys.argv[1]].dashboard(), indent=2, ensure_ascii=False))


main()
