"""Makes the table of built-in resources out of lightkube-models, which is generated from Kubernetes' own API description.

    python -m apiserver.machinery.generate_resources      # by hand, when the package has a new minor version

Reading the package itself costs every process a third of a second and an HTTP client; a test holds the table to it.
"""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import msgspec

from apiserver.machinery.resources import TABLE, Resource, Subresource

UNWATCHED = ("componentstatuses",)
"""What the API description says of it is not so: there is no history of what is found out when somebody asks."""
VERB_OF = {"post": "create", "put": "update", "global_list": "list", "global_watch": "watch"}


def from_package() -> tuple[Resource, ...]:
    from lightkube import resources

    found: dict[tuple[str, str, str], Resource] = {}
    subresources: dict[tuple[str, str, str], list[Subresource]] = {}
    for module in iter_modules(resources.__path__):
        for each in vars(import_module(f"lightkube.resources.{module.name}")).values():
            info = each.__dict__.get("_api_info") if isinstance(each, type) else None
            if info is None:
                continue
            defined = info.resource
            verbs = tuple(dict.fromkeys(VERB_OF.get(verb, verb) for verb in info.verbs))
            if info.plural in UNWATCHED:
                verbs = tuple(verb for verb in verbs if verb != "watch")
            if info.action is not None:
                parent = info.parent or defined
                entry = Subresource(info.action, defined.group, defined.version, defined.kind, verbs)
                subresources.setdefault((parent.group, parent.version, info.plural), []).append(entry)
            else:
                namespaced = any(base.__name__.startswith("Namespaced") for base in each.__mro__)
                key = (defined.group, defined.version, info.plural)
                found[key] = Resource(defined.group, defined.version, defined.kind, info.plural, namespaced, verbs, (), defined.kind.lower())
    return tuple(
        Resource(
            **{**{name: getattr(resource, name) for name in Resource.__struct_fields__}, "subresources": tuple(subresources.get(key, ()))},
        )
        for key, resource in found.items()
    )


def main() -> None:
    content = msgspec.json.format(msgspec.json.encode(from_package()), indent=1)
    Path(__file__).with_name(TABLE).write_bytes(content + b"\n")


if __name__ == "__main__":
    main()
