"""The Kubernetes API over the store: stateless, any number at once, each behind its own certificate.

machinery   pure, shared with the agents: objects, the table of resources, schemas, selectors, quantities, patches, server-side apply, errors
registry    what each resource adds to the common way: defaults, validation, columns, custom resources
storage     objects in the store under /registry, and the watch cache in front of it
authn authz admission filters   who asks, may they, what else must hold, and the order of it all
handlers discovery              the verbs, the streams, and what the server says of itself
client      THE DOOR for agents

`machinery` knows none of the others; the store is reached through `kvstore.client` alone.
"""
