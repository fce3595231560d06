"""Who gets indented JSON."""

CM = "/api/v1/namespaces/default/configmaps"


def test_people_get_indented_json_and_programs_do_not(served):
    async def lines(api, query="", agent="client/1"):
        async with api.session.get(f"{CM}/a{query}", headers={"User-Agent": agent}) as answer:
            text = await answer.text()
            assert (await answer.json())["metadata"]["name"] == "a"
        return text.count("\n")

    async def test(api):
        await api.post(CM, {"metadata": {"name": "a"}, "data": {"x": "1"}})
        assert await lines(api) <= 1
        assert await lines(api, "?pretty=true") > 5
        assert await lines(api, agent="curl/8.0") > 5
        assert await lines(api, "?pretty=false", agent="curl/8.0") <= 1
        async with api.session.get(f"{CM}/absent", headers={"User-Agent": "curl/8.0"}) as answer:
            assert '"reason": "NotFound"' in await answer.text()

    served(test)
