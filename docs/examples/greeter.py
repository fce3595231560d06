"""A custom controller: each Greeting has a ConfigMap with its text. docs/custom-controller.md explains it line by line."""

import sys

from agents.kit.actions import Action, Create, Update, UpdateStatus
from agents.kit.controller import Controller
from agents.kit.owners import owner_reference
from agents.kit.runner import Agent, Running
from apiserver.machinery.objects import Object, name_of, namespace_of
from apiserver.machinery.resources import Resource, resource

GREETINGS = Resource("example.com", "v1", "Greeting", "greetings", namespaced=True, verbs=())
CONFIG_MAPS = resource("configmaps")


class Greeter(Controller):
    name = "greeter"

    def watch(self) -> None:
        self.greetings = self.watched(GREETINGS, self.enqueue)
        self.maps = self.watched(CONFIG_MAPS, self.enqueue_owner(GREETINGS))

    def reconcile(self, key: str) -> list[Action]:
        greeting = self.greetings.get(key)
        return [] if greeting is None else reconcile(greeting, self.maps.get(key))


def reconcile(greeting: Object, there: Object | None) -> list[Action]:
    actions: list[Action] = []
    data = {"text": f"Hello, {greeting['spec']['name']}!"}
    if there is None:
        metadata = {"name": name_of(greeting), "namespace": namespace_of(greeting), "ownerReferences": [owner_reference(greeting, GREETINGS)]}
        actions.append(Create(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}, told_to=greeting))
    elif there.get("data") != data:
        actions.append(Update(CONFIG_MAPS, {**there, "data": data}))
    status = {"text": data["text"]}
    return actions if greeting.get("status") == status else [*actions, UpdateStatus(GREETINGS, {**greeting, "status": status})]


async def serve(running: Running) -> None:
    await Greeter(running.context).run()


if __name__ == "__main__":
    sys.exit(Agent("greeter", "Greets.", port=0, lease="greeter").main(serve))
