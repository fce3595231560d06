"""Admission webhooks and API services (pkg/apis/admissionregistration/validation, kube-aggregator/pkg/apis/apiregistration/validation)."""

from typing import Any

from apiserver.machinery import names
from apiserver.machinery.objects import Object, name_of
from apiserver.machinery.status import Cause, invalid_value, not_supported, required
from apiserver.registry.strategies.checks import each, named, one_of, port, selector, unique
from apiserver.registry.strategy import Strategy

OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
SEGMENTS_MIN = 3
REVIEW_VERSIONS = ("v1", "v1beta1")


class WebhookConfigurationStrategy(Strategy):
    has_status = False
    unconditional_update = False

    def validate(self, obj: Object) -> list[Cause]:
        listed = each(obj.get("webhooks"), "webhooks")
        found = [cause for at, webhook in listed for cause in self._webhook(webhook, at)]
        return found + unique((f"{at}.name", webhook["name"]) for at, webhook in listed if webhook.get("name"))

    def _webhook(self, webhook: Object, at: str) -> list[Cause]:
        name = webhook.get("name") or ""
        found = named(name, f"{at}.name", names.dns1123_subdomain) if name else [required(f"{at}.name")]
        if name and not found and name.count(".") + 1 < SEGMENTS_MIN:
            found.append(invalid_value(f"{at}.name", name, "should be a domain with at least three segments separated by dots"))
        for below, rule in each(webhook.get("rules"), f"{at}.rules"):
            found += self._rule(rule, below)
        found += one_of(webhook.get("failurePolicy"), f"{at}.failurePolicy", ("Fail", "Ignore"))
        found += one_of(webhook.get("matchPolicy"), f"{at}.matchPolicy", ("Equivalent", "Exact"))
        found += one_of(webhook.get("sideEffects"), f"{at}.sideEffects", ("None", "NoneOnDryRun"))
        found += one_of(webhook.get("reinvocationPolicy"), f"{at}.reinvocationPolicy", ("IfNeeded", "Never"))
        timeout = webhook.get("timeoutSeconds")
        if isinstance(timeout, int) and not 1 <= timeout <= 30:
            found.append(invalid_value(f"{at}.timeoutSeconds", timeout, "the timeout value must be between 1 and 30 seconds"))
        for field in ("namespaceSelector", "objectSelector"):
            found += selector(webhook.get(field), f"{at}.{field}")
        versions = webhook.get("admissionReviewVersions") or []
        if not versions:
            found.append(required(f"{at}.admissionReviewVersions", f"must specify one of {', '.join(REVIEW_VERSIONS)}"))
        elif not any(each_version in REVIEW_VERSIONS for each_version in versions):
            told = f"must include at least one of {', '.join(REVIEW_VERSIONS)}"
            found.append(invalid_value(f"{at}.admissionReviewVersions", versions, told))
        return found + client_config(webhook.get("clientConfig") or {}, f"{at}.clientConfig")

    @staticmethod
    def _rule(rule: Object, at: str) -> list[Cause]:
        found: list[Cause] = []
        for field in ("apiGroups", "apiVersions", "resources", "operations"):
            values = rule.get(field) or []
            if not values:
                found.append(required(f"{at}.{field}"))
            elif "*" in values and len(values) > 1 and field != "resources":
                found.append(invalid_value(f"{at}.{field}", values, f"if '*' is present, must not specify other {_words(field)}"))
        for index, operation in enumerate(rule.get("operations") or ()):
            if operation not in OPERATIONS:
                found.append(not_supported(f"{at}.operations[{index}]", operation, OPERATIONS))
        return found + one_of(rule.get("scope"), f"{at}.scope", ("*", "Cluster", "Namespaced"))


def _words(field: str) -> str:
    return {"apiGroups": "API groups", "apiVersions": "API versions"}.get(field, field)


def client_config(config: Object, at: str) -> list[Cause]:
    """Where a webhook is: an https URL or a service, and not both."""
    url: Any = config.get("url")
    service: Any = config.get("service")
    if (url is None) == (service is None):
        return [required(at, "exactly one of url or service is required")]
    if url is not None:
        return _url(url, f"{at}.url")
    found: list[Cause] = []
    for field in ("name", "namespace"):
        found += [] if service.get(field) else [required(f"{at}.service.{field}", f"service {field} is required")]
    if service.get("path") and not service["path"].startswith("/"):
        found.append(invalid_value(f"{at}.service.path", service["path"], "must start with a '/'"))
    return found + port(service.get("port"), f"{at}.service.port")


def _url(url: Any, at: str) -> list[Cause]:
    from urllib.parse import urlsplit

    form = "desired format: https://host[/path]"
    try:
        parts = urlsplit(url)
    except ValueError:
        return [required(at, f"url must be a valid URL: {form}")]
    found: list[Cause] = []
    if parts.scheme != "https":
        found.append(invalid_value(at, parts.scheme, f"'https' is the only allowed URL scheme; {form}"))
    if not parts.netloc:
        found.append(invalid_value(at, parts.netloc, f"host must be specified; {form}"))
    if "@" in parts.netloc:
        found.append(invalid_value(at, parts.netloc.partition("@")[0], "user information is not permitted in the URL"))
    if parts.query:
        found.append(invalid_value(at, parts.query, "query parameters are not permitted in the URL"))
    if parts.fragment:
        found.append(invalid_value(at, parts.fragment, "fragments are not permitted in the URL"))
    return found


class APIServiceStrategy(Strategy):
    unconditional_update = False

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        version, group = spec.get("version") or "", spec.get("group") or ""
        found: list[Cause] = []
        if name_of(obj) != f"{version}.{group}":
            found.append(invalid_value("metadata.name", name_of(obj), f'must be `spec.version+"."+spec.group`: "{version}.{group}"'))
        if not group and version != "v1":
            found.append(required("spec.group", "only v1 may have an empty group and it better be legacy kube"))
        if not version:
            found.append(required("spec.version"))
        for field, highest in (("groupPriorityMinimum", 20000), ("versionPriority", 1000)):
            value = spec.get(field)
            if isinstance(value, int) and not 0 < value <= highest:
                found.append(invalid_value(f"spec.{field}", value, f"must be positive and less than {highest}"))
        if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
            found.append(invalid_value("spec.insecureSkipTLSVerify", True, "may not be true if caBundle is present"))
        return found
