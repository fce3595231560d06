"""Every verb through the whole server, over the store in memory."""

from apiserver.handlers import decoding

CM = "/api/v1/namespaces/default/configmaps"


def config_map(name, **fields):
    return {"metadata": {"name": name}, **fields}


def test_create_get_update_delete(served):
    async def test(api):
        code, made = await api.post(CM, config_map("a", data={"x": "1"}))
        assert code == 201
        assert made["kind"] == "ConfigMap"
        assert made["metadata"]["namespace"] == "default"
        assert made["metadata"]["uid"]
        assert (await api.get(f"{CM}/a")) == (200, made)
        code, changed = await api.put(f"{CM}/a", config_map("a", data={"x": "2"}))
        assert code == 200
        assert changed["metadata"]["uid"] == made["metadata"]["uid"]
        assert int(changed["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
        code, gone = await api.delete(f"{CM}/a")
        assert (code, gone["status"], gone["details"]["uid"]) == (200, "Success", made["metadata"]["uid"])
        code, status = await api.get(f"{CM}/a")
        assert (code, status["reason"], status["message"]) == (404, "NotFound", 'configmaps "a" not found')

    served(test)


def test_a_name_is_taken_once(served):
    async def test(api):
        await api.post(CM, config_map("a"))
        code, status = await api.post(CM, config_map("a"))
        assert (code, status["reason"], status["message"]) == (409, "AlreadyExists", 'configmaps "a" already exists')

    served(test)


def test_generated_names_are_tried_again(served):
    async def test(api):
        suffixes = iter(["aaaaa", "aaaaa", "bbbbb"])
        api.app.suffix = lambda: next(suffixes)
        body = {"metadata": {"generateName": "a-"}}
        first, second = [(await api.post(CM, body))[1]["metadata"]["name"] for _ in range(2)]
        assert (first, second) == ("a-aaaaa", "a-bbbbb")

    served(test)


def test_what_is_no_good_is_told_as_kubernetes_tells_it(served):
    async def test(api):
        code, status = await api.post(CM, config_map("A B"))
        assert (code, status["reason"], status["details"]["causes"][0]["field"]) == (422, "Invalid", "metadata.name")
        code, status = await api.post(CM, {"metadata": {}})
        assert status["message"] == 'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required'
        code, status = await api.post(CM, {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "a"}})
        assert code == 400
        code, status = await api.post(CM, {"metadata": {"name": "a", "namespace": "other"}})
        assert (code, "does not match the namespace sent on the request" in status["message"]) == (400, True)
        code, status = await api.post(f"{CM}?fieldValidation=Strict", config_map("a", datum={}))
        assert (code, 'strict decoding error: unknown field "datum"' in status["message"]) == (400, True)
        code, _ = await api.post(CM, config_map("a", datum={}))
        assert code == 201
        assert api.headers["Warning"] == '299 - "unknown field \\"datum\\""'

    served(test)


def test_bodies_that_would_hurt(served):
    async def test(api):
        deep = b'{"metadata":{"name":"a"},"data":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}"
        assert (await api.post(CM, deep))[0] == 400
        bomb = b"a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nmetadata: {name: a}\nkind: ConfigMap\napiVersion: v1\n"
        code, status = await api.post(CM, bomb, "application/yaml")
        assert (code, status["message"]) == (
            400,
            "the object provided is unrecognized (must be of type ConfigMap): YAML aliases are not allowed "
            "(613a202661205b782c782c782c785d0a623a202662205b2a612c2a612c2a ...)",
        )
        assert (await api.post(CM, b"x" * (4 << 20)))[0] == 413
        assert (await api.post(CM, b"{"))[0] == 400
        assert (await api.post(CM, b"[]"))[0] == 400
        assert (await api.post(CM, b"\xff\xfe"))[0] == 400
        assert (await api.post(CM, b"k8s\x00\xff\xff\xff", "application/vnd.kubernetes.protobuf"))[0] == 400
        assert (await api.post(CM, b"a", "text/plain"))[0] == 415

    served(test)


def test_what_is_no_metadata_and_no_option_is_told(served):
    async def test(api):
        await api.post(CM, config_map("a"))
        for wrong in (5, [], "a"):
            for expected, (code, status) in (
                (400, await api.post(CM, {"metadata": wrong})),
                (400, await api.put(f"{CM}/a", {"metadata": wrong})),
                (422, await api.patch(f"{CM}/a", {"metadata": wrong})),
            ):
                assert (code, status["message"].rpartition(": ")[2]) == (expected, "metadata must be an object"), wrong
        for answer in (await api.put(f"{CM}/a", {"metadata": None}), await api.patch(f"{CM}/a", {"metadata": None})):
            told = "the name of the object (a based on URL) was undeterminable: name must be provided"
            assert (answer[0], answer[1]["message"]) == (400, told)
        for options in ({"preconditions": 5}, {"dryRun": 5}, {"dryRun": "All"}):
            code, status = await api.delete(f"{CM}/a", options)
            assert (code, status["reason"]) == (400, "BadRequest"), options
        assert (await api.get(f"{CM}/a"))[0] == 200

    served(test)


def test_options_that_do_not_exist_are_told(served):
    async def test(api):
        await api.post(CM, config_map("a"))
        for answer, kind, fault in (
            (await api.post(f"{CM}?dryRun=None", config_map("b")), "Create", 'dryRun: Unsupported value: ["None"]: supported values: "All"'),
            (
                await api.put(f"{CM}/a?fieldManager=a%01", config_map("a")),
                "Update",
                'fieldManager: Invalid value: "a\\u0001": invalid character U+0001',
            ),
            (await api.patch(f"{CM}/a?force=true", {}), "Patch", "force: Forbidden: may not be specified for non-apply patch"),
            (await api.delete(f"{CM}/a", {"dryRun": ["Some"]}), "Delete", 'dryRun: Unsupported value: ["Some"]: supported values: "All"'),
            (await api.delete(f"{CM}/a?dryRun=Some"), "Delete", 'dryRun: Unsupported value: ["Some"]: supported values: "All"'),
        ):
            assert answer[0] == 422, answer
            assert answer[1]["message"].startswith(f'{kind}Options.meta.k8s.io "" is invalid: {fault}'), answer
        assert (await api.get(f"{CM}/a"))[0] == 200
        assert (await api.get(f"{CM}?timeoutSeconds=word"))[1]["message"] == 'strconv.ParseInt: parsing "word": invalid syntax'

    served(test)


def test_metadata_that_no_object_may_have(served):
    async def test(api):
        for meta, field in (
            ({"generateName": "a" * 300}, "metadata.generateName"),
            ({"generateName": "Bad_"}, "metadata.generateName"),
            ({"name": "a", "finalizers": ["orphan", "foregroundDeletion"]}, "metadata.finalizers"),
            ({"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "Event", "name": "e", "uid": "u"}]}, "metadata.ownerReferences[0]"),
            (
                {"name": "a", "ownerReferences": [{"apiVersion": "a/b/c", "kind": "K", "name": "e", "uid": "u"}]},
                "metadata.ownerReferences[0].apiVersion",
            ),
            ({"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "K", "name": "e"}]}, "metadata.ownerReferences[0].uid"),
        ):
            code, status = await api.post(CM, {"metadata": meta})
            assert (code, status["details"]["causes"][0]["field"]) == (422, field)
        assert (await api.post(CM, {"metadata": {"generateName": "a-b-"}}))[0] == 201

    served(test)


def test_a_patch_that_leaves_no_good_object_is_invalid(served):
    async def test(api):
        await api.post(CM, config_map("a", data={"x": "1"}))
        for kind, told in (
            ("application/strategic-merge-patch+json", 'patch: Invalid value: "map[data:word]": cannot restore map from string'),
            ("application/merge-patch+json", "of type map[string]string"),
        ):
            code, status = await api.patch(f"{CM}/a", {"data": "word"}, kind)
            assert (code, status["reason"], told in status["message"]) == (422, "Invalid", True), status
            assert status["message"].startswith(' "" is invalid: patch: Invalid value: ')

    served(test)


def test_a_view_of_a_list_is_none_of_an_object(served):
    async def test(api):
        await api.post(CM, config_map("a"))
        accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
        assert (await api.get(f"{CM}/a", Accept=accept))[0] == 406
        assert (await api.get(CM, Accept=accept))[1]["kind"] == "PartialObjectMetadataList"

    served(test)


def test_a_schema_deeper_than_the_stack_is_told(served):
    async def test(api):
        schema = {"type": "object"}
        for _ in range(150):
            schema = {"type": "object", "properties": {"a": schema}}
        version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
        spec = {"group": "x.io", "scope": "Namespaced", "names": {"plural": "as", "kind": "A"}, "versions": [version]}
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        code, status = await api.post(path, {"metadata": {"name": "as.x.io"}, "spec": spec})
        assert (code, status["message"]) == (400, "the object is nested too deeply")

    served(test)


def test_much_yaml_is_read_too(served):
    async def test(api):
        text = "kind: ConfigMap\nmetadata: {name: a}\ndata:\n" + "".join(f"  key{number}: value\n" for number in range(4000))
        assert len(text) > decoding.AT_ONCE_BYTES_MAX
        code, made = await api.post(CM, text.encode(), "application/yaml")
        assert (code, len(made["data"])) == (201, 4000)
        assert (await api.post(CM, b"a: [\n" + b" " * decoding.AT_ONCE_BYTES_MAX, "application/yaml"))[0] == 400
        assert (await api.post(CM, b"a: !!bool maybe", "application/yaml"))[0] == 400

    served(test)


def test_yaml_is_read(served):
    async def test(api):
        text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {day: '2026-01-01', x: '1'}\n"
        code, made = await api.post(CM, text, "application/yaml")
        assert (code, made["data"]) == (201, {"day": "2026-01-01", "x": "1"})

    served(test)


def test_an_old_resource_version_is_a_conflict(served):
    async def test(api):
        _, made = await api.post(CM, config_map("a"))
        await api.put(f"{CM}/a", config_map("a", data={"x": "1"}))
        code, status = await api.put(f"{CM}/a", made)
        assert (code, status["reason"]) == (409, "Conflict")
        assert status["message"].startswith('Operation cannot be fulfilled on configmaps "a": the object has been modified')

    served(test)


def test_a_write_that_changes_nothing_writes_nothing(served):
    async def test(api):
        _, made = await api.post(CM, config_map("a", data={"x": "1"}))
        code, same = await api.patch(f"{CM}/a", {"data": {"x": "1"}})
        assert (code, same["metadata"]["resourceVersion"]) == (200, made["metadata"]["resourceVersion"])

    served(test)


def test_a_dry_run_leaves_nothing(served):
    async def test(api):
        code, made = await api.post(f"{CM}?dryRun=All", config_map("a"))
        assert (code, made["metadata"]["name"]) == (201, "a")
        assert (await api.get(f"{CM}/a"))[0] == 404
        await api.post(CM, config_map("b"))
        assert (await api.patch(f"{CM}/b?dryRun=All", {"data": {"x": "1"}}))[1]["data"] == {"x": "1"}
        assert "data" not in (await api.get(f"{CM}/b"))[1]
        assert (await api.delete(f"{CM}/b?dryRun=All"))[0] == 200
        assert (await api.get(f"{CM}/b"))[0] == 200

    served(test)


def test_a_patch_starts_again_when_somebody_came_in_between(served):
    async def test(api):
        _, made = await api.post(CM, config_map("a", data={"x": "1"}))
        key = b"/registry/configmaps/default/a"

        def somebody(_):
            value = (b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"default","uid":"%s"},"data":{"x":"1","y":"2"}}') % (
                made["metadata"]["uid"].encode()
            )
            api.store.put_now(key, value)

        api.store.before = somebody
        code, patched = await api.patch(f"{CM}/a", {"data": {"z": "3"}})
        assert (code, patched["data"]) == (200, {"x": "1", "y": "2", "z": "3"})

    served(test)


def test_status_and_spec_are_written_apart(served):
    async def test(api):
        path = "/apis/apps/v1/namespaces/default/deployments"
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
        _, made = await api.post(path, {"metadata": {"name": "d"}, "spec": spec, "status": {"replicas": 9}})
        assert made["metadata"]["generation"] == 1
        assert made.get("status", {}).get("replicas", 0) == 0
        _, told = await api.patch(f"{path}/d/status", {"spec": {"replicas": 7}, "status": {"replicas": 2, "observedGeneration": 1}})
        assert (told["spec"]["replicas"], told["status"]["replicas"], told["metadata"]["generation"]) == (1, 2, 1)
        _, changed = await api.patch(f"{path}/d", {"spec": {"replicas": 3}, "status": {"replicas": 8}})
        assert (changed["spec"]["replicas"], changed["status"]["replicas"], changed["metadata"]["generation"]) == (3, 2, 2)
        _, scale = await api.get(f"{path}/d/scale")
        assert (scale["kind"], scale["spec"], scale["status"]) == ("Scale", {"replicas": 3}, {"replicas": 2, "selector": "a=b"})
        code, scale = await api.patch(f"{path}/d/scale", {"spec": {"replicas": 5}})
        assert (code, scale["spec"], (await api.get(f"{path}/d"))[1]["spec"]["replicas"]) == (200, {"replicas": 5}, 5)
        assert (await api.patch(f"{path}/d/scale", {"spec": {"replicas": -1}}))[0] == 422

    served(test)


def test_methods_and_paths_that_are_not_there(served):
    async def test(api):
        assert (await api.ask("POST", f"{CM}/a", {}))[0] == 405
        assert (await api.ask("PUT", CM, {}))[0] == 405
        assert (await api.ask("OPTIONS", CM))[0] == 405
        assert (await api.get("/api/v1/namespaces/default/nodes"))[0] == 404
        assert (await api.get("/api/v1/nothing"))[0] == 404
        assert (await api.get("/apis/none/v1/nothing"))[0] == 404
        assert (await api.get("/nothing"))[0] == 404
        assert (await api.post("/api/v1/configmaps", config_map("a")))[0] == 405
        assert (await api.get(f"{CM}/a/status"))[0] == 404

    served(test)


def test_finalizers_hold_an_object(served):
    async def test(api):
        await api.post(CM, {"metadata": {"name": "a", "finalizers": ["example.com/x"]}})
        code, marked = await api.delete(f"{CM}/a")
        assert (code, marked["metadata"]["deletionGracePeriodSeconds"]) == (200, 0)
        code, _ = await api.patch(f"{CM}/a", {"metadata": {"finalizers": ["example.com/x", "example.com/y"]}})
        assert code == 422
        assert (await api.patch(f"{CM}/a", {"metadata": {"finalizers": None}}))[0] == 200
        assert (await api.get(f"{CM}/a"))[0] == 404

    served(test)


def test_preconditions_of_a_deletion(served):
    async def test(api):
        _, made = await api.post(CM, config_map("a"))
        assert (await api.delete(f"{CM}/a", {"preconditions": {"uid": "other"}}))[0] == 409
        assert (await api.delete(f"{CM}/a", {"preconditions": {"resourceVersion": "1"}}))[0] == 409
        assert (await api.delete(f"{CM}/a", {"propagationPolicy": "Sideways"}))[0] == 422
        assert (await api.delete(f"{CM}/a", {"preconditions": {"uid": made["metadata"]["uid"]}}))[0] == 200

    served(test)


def test_a_collection_is_deleted_by_selector(served):
    async def test(api):
        for name, label in (("a", "x"), ("b", "x"), ("c", "y")):
            await api.post(CM, {"metadata": {"name": name, "labels": {"l": label}}})
        code, gone = await api.delete(f"{CM}?labelSelector=l%3Dx")
        assert (code, [each["metadata"]["name"] for each in gone["items"]]) == (200, ["a", "b"])
        assert [each["metadata"]["name"] for each in (await api.get(CM))[1]["items"]] == ["c"]

    served(test)


def test_without_the_store_there_is_an_answer_and_no_guess(served, monkeypatch):
    monkeypatch.setattr("apiserver.storage.objects.STORE_PATIENCE_S", 0.05)

    async def test(api):
        await api.post(CM, config_map("a"))
        api.store.broken = True
        code, status = await api.get(f"{CM}/a")
        assert (code, status["reason"]) == (503, "ServiceUnavailable")
        assert (await api.get(f"{CM}/a?resourceVersion=0"))[0] == 200
        assert (await api.get("/readyz"))[0] == 500
        assert (await api.get("/livez"))[0] == 200
        api.store.broken = False
        assert (await api.get("/readyz"))[0] == 200

    served(test)


def test_what_is_only_answered_is_never_stored(served):
    async def test(api):
        code, _ = await api.post(
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}
        )
        assert code == 405  # nobody answers it in this server without doors
        assert (await api.get("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"))[0] == 405

    served(test)


def test_a_namespace_ends_when_its_finalizer_is_gone(served):
    async def test(api):
        await api.post("/api/v1/namespaces", {"metadata": {"name": "n"}})
        code, marked = await api.delete("/api/v1/namespaces/n")
        assert (code, marked["status"]["phase"]) == (200, "Terminating")
        assert (await api.get("/api/v1/namespaces/n"))[0] == 200
        code, _ = await api.put("/api/v1/namespaces/n/finalize", {**marked, "spec": {"finalizers": []}})
        assert code == 200
        assert (await api.get("/api/v1/namespaces/n"))[0] == 404

    served(test)


def test_what_clients_make_up_is_no_series_of_the_metrics(served):
    async def test(api):
        for number in range(3):
            await api.get(f"/apis/made.up{number}/v1/things")
            await api.get(f"{CM}/a/part{number}")
            await api.ask(f"VERB{number}", "/healthz")
        _, text = await api.get("/metrics")
        assert "apiserver_request_total" in text
        assert not any(word in text for word in ("made.up", "part1", "VERB1"))

    served(test)
