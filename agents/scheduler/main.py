"""kube-scheduler: finds a node for every pod that has none, and binds it there.

python -m agents.scheduler.main --kubeconfig=scheduler.conf [--config=file] [--leader-elect=false]
"""

import sys
import time
from pathlib import Path
from random import Random
from typing import Any

from agents.kit.runner import Agent, Running
from agents.scheduler.profiles import ConfigError, Profile, profiles
from agents.scheduler.scheduler import Scheduler

PORT = 10259
CONFIG_BYTES_MAX = 1 << 20


def configured(path: str) -> dict[str, Profile]:
    """The profiles of a configuration file, or the default one. Raises ConfigError."""
    if not path:
        return profiles({})
    import yaml

    try:
        text = Path(path).read_bytes()
        if len(text) > CONFIG_BYTES_MAX:
            raise ConfigError(f"{path} has more than {CONFIG_BYTES_MAX} bytes")
        document: Any = yaml.safe_load(text)
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path} holds no KubeSchedulerConfiguration")
    return profiles(document)


async def serve(running: Running) -> None:
    """While this instance leads."""
    found = configured(running.arguments.config)
    scheduler = Scheduler(
        running.client,
        found,
        running.broadcaster.recorder,
        now_s=time.time,
        monotonic_s=time.monotonic,
        chance=Random().randrange,
    )
    running.pages.metrics.append(scheduler.metrics.collect)
    scheduler.follow(running.informers)
    await running.informers.synced()
    await scheduler.run()


def main() -> int:
    agent = Agent("kube-scheduler", "Finds nodes for pods.", port=PORT, lease="kube-scheduler")
    agent.flags.text("--config", "", "file with a KubeSchedulerConfiguration: profiles, plugins and their weights")
    arguments, _ = agent.flags.parse_known_args()
    try:
        configured(arguments.config)
    except ConfigError as error:
        print(f"kube-scheduler: {error}", file=sys.stderr)
        return 2
    return agent.main(serve)


if __name__ == "__main__":
    sys.exit(main())
