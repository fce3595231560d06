"""/swagger.json, and /swagger/: the same for people, in one page without anything from elsewhere."""

import base64
import hashlib
import json
import re
from functools import cache

from kvstore.api.health import Answer
from kvstore.wire.openapi import document

PATHS = frozenset({"/swagger.json", "/swagger", "/swagger/"})

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Keelson: the JSON gateway</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222 }
summary { cursor: pointer; padding: .3em; background: #f3f4f6; margin: .2em 0; border-radius: 4px }
code, pre, textarea { font: 13px/1.4 ui-monospace, monospace }
pre { background: #f8f8f8; padding: .6em; overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere }
textarea { width: 100%; height: 7em; box-sizing: border-box }
</style></head><body>
<h1>The JSON gateway</h1>
<p>etcd's API version 3 over JSON: every call is a POST, keys and values are base64, 64-bit numbers are strings.
The same as a document for tools: <a href="/swagger.json">/swagger.json</a>.</p>
<p><label>Token, if authentication is on: <input id="token" autocomplete="off"></label></p>
<div id="calls">Needs JavaScript.</div>
<script>
"use strict";
const element = (name, text, parent) => {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  if (parent) parent.append(made);
  return made;
};
const example = (schema, all, depth) => {
  if (schema.$ref) schema = all[schema.$ref.split("/").pop()];
  if (schema.type === "array") return depth > 2 ? [] : [example(schema.items, all, depth + 1)];
  if (schema.type === "object") {
    if (depth > 2) return {};
    return Object.fromEntries(Object.entries(schema.properties).map(([name, inner]) => [name, example(inner, all, depth + 1)]));
  }
  if (schema.enum) return schema.enum.join(" | ");
  return schema.type === "boolean" ? false : schema.type === "integer" ? 0 : schema.format || "";
};
fetch("/swagger.json").then(answer => answer.json()).then(swagger => {
  const list = document.getElementById("calls");
  list.textContent = "";
  for (const [path, {post}] of Object.entries(swagger.paths)) {
    const entry = element("details", "", list);
    const title = element("summary", "", entry);
    element("code", "POST " + path, title);
    title.append(" " + post.summary);
    const request = post.parameters[0].schema, schema = post.responses["200"].schema;
    element("p", "Fields of the request:", entry);
    element("pre", JSON.stringify(example(request, swagger.definitions, 0), null, 1), entry);
    element("p", "Fields of the answer:", entry);
    element("pre", JSON.stringify(example(schema, swagger.definitions, 0), null, 1), entry);
    const body = element("textarea", "{}", entry);
    const send = element("button", "Send", entry);
    const result = element("pre", "", entry);
    send.addEventListener("click", async () => {
      const headers = {"content-type": "application/json"};
      const token = document.getElementById("token").value;
      if (token) headers.authorization = token;
      try {
        const answer = await fetch(path, {method: "POST", headers, body: body.value, signal: AbortSignal.timeout(5000)});
        result.textContent = answer.status + " " + await answer.text();
      } catch (error) { result.textContent = String(error); }
    });
  }
});
</script></body></html>
"""


@cache
def _page_policy() -> str:
    """Nothing but what the page itself holds may run or show."""

    def digest(tag: str) -> str:
        found = re.search(rf"<{tag}>(.*?)</{tag}>", _PAGE, re.DOTALL)
        assert found is not None
        return base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()

    own = f"style-src 'sha256-{digest('style')}'; script-src 'sha256-{digest('script')}'"
    return f"default-src 'none'; connect-src 'self'; {own}; frame-ancestors 'none'"


@cache
def answer(path: str) -> tuple[Answer, list[tuple[bytes, bytes]]]:
    """The answer and more headers."""
    if path == "/swagger.json":
        return (200, "application/json", json.dumps(document(), separators=(",", ":")).encode()), []
    policy = [(b"content-security-policy", _page_policy().encode()), (b"x-content-type-options", b"nosniff")]
    return (200, "text/html; charset=utf-8", _PAGE.encode()), policy
