"""A custom controller: each Greeting has a ConfigMap with its text. docs/custom-controller.md explains it."""

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
    wanted = {"text": f"Hello, {greeting['spec']['name']}!"}
    actions: list[Action] = []
    if there is None:
        metadata = {"name": name_of(greeting), "namespace": namespace_of(greeting), "ownerReferences": [owner_reference(greeting, GREETINGS)]}
        actions.append(Create(CONFIG_MAPS, {"metadata": metadata, "data": wanted}, told_to=greeting))
    elif there.get("data") != wanted:
        actions.append(Update(CONFIG_MAPS, {**there, "data": wanted}))
    if greeting.get("status") != wanted:
        actions.append(UpdateStatus(GREETINGS, {**greeting, "status": wanted}))
    return actions


async def serve(running: Running) -> None:
    await Greeter(running.context).run()


if __name__ == "__main__":
    sys.exit(Agent("greeter", "Greets.", lease="greeter").main(serve))
