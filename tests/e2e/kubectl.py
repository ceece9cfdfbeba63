#!/usr/bin/env python3
"""Stands in for kubectl where there is no cluster: what is applied is written into the folder $APPLIED, one file each, in order.

`kubectl create --dry-run=client` is the real one's, $KUBECTL: it asks no cluster.
"""

import os
import sys
from pathlib import Path

import yaml

# As kubectl shows them.
KINDS = {
    "ConfigMap": "configmap",
    "EnvoyFilter": "envoyfilter.networking.istio.io",
    "WasmPlugin": "wasmplugin.extensions.istio.io",
}


def main(arguments: list[str]) -> None:
    applied = Path(os.environ["APPLIED"])
    seen = sorted(applied.iterdir())
    match arguments:
        case ["create", "configmap", _, _, "--dry-run=client", "-o", "yaml"]:
            os.execv(os.environ["KUBECTL"], ["kubectl", *arguments])
        case ["apply", "-f", source]:
            text = sys.stdin.read() if source == "-" else Path(source).read_text()
            found = yaml.safe_load(text)
            kind, name = found["kind"], found["metadata"]["name"]
            known = any(each.name.endswith(f"-{kind}-{name}.yaml") for each in seen)
            (applied / f"{len(seen):02}-{kind}-{name}.yaml").write_text(text)
            print(f"{KINDS[kind]}/{name} {'configured' if known else 'created'}")
        case ["delete", kind, "-n", _, name]:
            [shown] = [each for each in KINDS.values() if each.split(".")[0] == kind]
            (applied / f"{len(seen):02}-deleted-{name}.yaml").write_text("")
            print(f'{shown} "{name}" deleted')
        case _:
            sys.exit(f"kubectl.py does not know {arguments}")


main(sys.argv[1:])
