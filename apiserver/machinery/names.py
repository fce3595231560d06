"""What a name, a label and a label's value may look like, with Kubernetes' words for what is wrong (apimachinery/pkg/util/validation).

Each rule gives the list of faults; an empty list means the value is good.
"""

import re
from collections.abc import Callable, Mapping

LABEL_MAX = 63
SUBDOMAIN_MAX = 253
PORT_NAME_MAX = 15
GENERATED_BASE_MAX = 58
GENERATE_TRIES_MAX = 8
"""How often a generated name that is taken is drawn anew (registry/generic/registry): five characters out of 27 collide once in a thousand tries when
there are ten thousand names already."""
SUFFIX_CHARACTERS = 5
SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""Of what is generated: no vowels, and nothing that looks like something else (apimachinery/pkg/util/rand)."""

DNS1123_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
DNS1123_SUBDOMAIN = rf"{DNS1123_LABEL}(\.{DNS1123_LABEL})*"
DNS1035_LABEL = "[a-z]([-a-z0-9]*[a-z0-9])?"
QUALIFIED_NAME = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
LABEL_VALUE = f"({QUALIFIED_NAME})?"
CONFIG_KEY = "[-._a-zA-Z0-9]+"
ENV_NAME = "[-._a-zA-Z][-._a-zA-Z0-9]*"
PERCENT = "[0-9]+%"
HEADER_NAME = "[-A-Za-z0-9]+"
WILDCARD_SUBDOMAIN = rf"\*\.{DNS1123_SUBDOMAIN}"

_dns1123_label = re.compile(DNS1123_LABEL)
_dns1123_subdomain = re.compile(DNS1123_SUBDOMAIN)
_dns1035_label = re.compile(DNS1035_LABEL)
_qualified_name = re.compile(QUALIFIED_NAME)
_label_value = re.compile(LABEL_VALUE)
_config_key = re.compile(CONFIG_KEY)
_env_name = re.compile(ENV_NAME)
_percent = re.compile(PERCENT)
_header_name = re.compile(HEADER_NAME)
_wildcard_subdomain = re.compile(WILDCARD_SUBDOMAIN)

_QUALIFIED_NAME_TEXT = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"


def too_long(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def regex_text(rule: str, pattern: str, *examples: str) -> str:
    """How Kubernetes says that a value does not match: the rule, examples, the expression (RegexError, its odd spaces included)."""
    if not examples:
        return f"{rule} (regex used for validation is '{pattern}')"
    shown = " or ".join(f"'{each}', " for each in examples)
    return f"{rule} (e.g. {shown}regex used for validation is '{pattern}')"


def dns1123_label(value: str) -> list[str]:
    """A namespace, a container, a port's host: one label of DNS."""
    faults = [too_long(LABEL_MAX)] if len(value.encode()) > LABEL_MAX else []
    if not _dns1123_label.fullmatch(value):
        if _dns1123_subdomain.fullmatch(value):
            faults.append("must not contain dots")
        else:
            rule = (
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
                "and must start and end with an alphanumeric character"
            )
            faults.append(regex_text(rule, DNS1123_LABEL, "my-name", "123-abc"))
    return faults


def dns1123_subdomain(value: str) -> list[str]:
    """What most objects' names are."""
    faults = [too_long(SUBDOMAIN_MAX)] if len(value.encode()) > SUBDOMAIN_MAX else []
    if not _dns1123_subdomain.fullmatch(value):
        rule = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
            "and must start and end with an alphanumeric character"
        )
        faults.append(regex_text(rule, DNS1123_SUBDOMAIN, "example.com"))
    return faults


def dns1035_label(value: str) -> list[str]:
    """A label that begins with a letter: services, the names that a custom resource is called by."""
    faults = [too_long(LABEL_MAX)] if len(value.encode()) > LABEL_MAX else []
    if not _dns1035_label.fullmatch(value):
        rule = (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
            "and end with an alphanumeric character"
        )
        faults.append(regex_text(rule, DNS1035_LABEL, "my-name", "abc-123"))
    return faults


def wildcard_subdomain(value: str) -> list[str]:
    faults = [too_long(SUBDOMAIN_MAX)] if len(value.encode()) > SUBDOMAIN_MAX else []
    if not _wildcard_subdomain.fullmatch(value):
        rule = (
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric "
            "characters, '-' or '.' and end with an alphanumeric character"
        )
        faults.append(regex_text(rule, WILDCARD_SUBDOMAIN, "*.example.com"))
    return faults


def path_segment(value: str) -> list[str]:
    """Names of RBAC's objects and other that may hold anything an URL path segment can (validation/path)."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{each}'" for each in "/%" if each in value]


def qualified_name(value: str) -> list[str]:
    """A label's or annotation's key: a name, perhaps with a DNS subdomain and a slash before it."""
    prefix, slash, name = value.rpartition("/")
    faults: list[str] = []
    if "/" in prefix:
        rule = regex_text(_QUALIFIED_NAME_TEXT, QUALIFIED_NAME, "MyName", "my.name", "123-abc")
        return [f"a qualified name {rule} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    if slash and not prefix:
        faults.append("prefix part must be non-empty")
    elif slash:
        faults += [f"prefix part {fault}" for fault in dns1123_subdomain(prefix)]
    if not name:
        faults.append("name part must be non-empty")
    elif len(name.encode()) > LABEL_MAX:
        faults.append(f"name part {too_long(LABEL_MAX)}")
    if not _qualified_name.fullmatch(name):
        faults.append(f"name part {regex_text(_QUALIFIED_NAME_TEXT, QUALIFIED_NAME, 'MyName', 'my.name', '123-abc')}")
    return faults


label_key = qualified_name


def label_value(value: str) -> list[str]:
    faults = [too_long(LABEL_MAX)] if len(value.encode()) > LABEL_MAX else []
    if not _label_value.fullmatch(value):
        rule = (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
            "and must start and end with an alphanumeric character"
        )
        faults.append(regex_text(rule, LABEL_VALUE, "MyValue", "my_value", "12345"))
    return faults


def config_key(value: str) -> list[str]:
    """A key of a ConfigMap or Secret, which becomes a file's name."""
    faults = [too_long(SUBDOMAIN_MAX)] if len(value.encode()) > SUBDOMAIN_MAX else []
    if not _config_key.fullmatch(value):
        rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        faults.append(regex_text(rule, CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    return faults + _directory_faults(value)


def env_name(value: str) -> list[str]:
    """An environment variable's name in the wide form that is the rule since 1.34: printable ASCII without `=`."""
    faults = [] if value else ["environment variable name must be non-empty"]
    if any(not 32 <= ord(each) < 127 or each == "=" for each in value):
        faults.append("a valid environment variable name must consist only of printable ASCII characters other than '='")
    return faults


def percent(value: str) -> list[str]:
    if _percent.fullmatch(value):
        return []
    return [regex_text("a valid percent string must be a numeric string followed by an ending '%'", PERCENT, "1%", "93%")]


def header_name(value: str) -> list[str]:
    if _header_name.fullmatch(value):
        return []
    return [regex_text("a valid HTTP header must consist of alphanumeric characters or '-'", HEADER_NAME, "X-Header-Name")]


def port_name(value: str) -> list[str]:
    faults = [too_long(PORT_NAME_MAX)] if len(value) > PORT_NAME_MAX else []
    if not re.fullmatch("[-a-z0-9]+", value):
        faults.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        faults.append("must contain at least one letter (a-z)")
    if "--" in value:
        faults.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        faults.append("must not begin or end with a hyphen")
    return faults


def port_number(value: int) -> list[str]:
    return [] if 1 <= value <= 65535 else ["must be between 1 and 65535, inclusive"]


def suffix(choose: Callable[[str], str]) -> str:
    """What makes a name of `metadata.generateName`; `choose` draws one of the characters that it is given."""
    return "".join(choose(SUFFIX_ALPHABET) for _ in range(SUFFIX_CHARACTERS))


def generated(rule: Callable[[str], list[str]], prefix: str) -> list[str]:
    """Faults of `metadata.generateName`: what is appended is good, so a hyphen at the end is, too."""
    return rule(prefix[:-1] + "a" if prefix.endswith("-") else prefix)


def label_faults(labels: Mapping[str, str]) -> list[tuple[str, str]]:
    """Every fault in a map of labels as (key or value, what is wrong with it)."""
    found = [(key, fault) for key in labels for fault in label_key(key)]
    return found + [(value, fault) for value in labels.values() for fault in label_value(value)]


def _directory_faults(value: str) -> list[str]:
    if value == ".":
        return ["must not be '.'"]
    if value == "..":
        return ["must not be '..'"]
    return ["must not start with '..'"] if value.startswith("..") else []
