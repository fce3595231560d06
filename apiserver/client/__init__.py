"""The door into the API server: `rest.Client`, for agents, launcher and tests.

rest        the client: verbs as coroutines, several servers tried in turn
watch       one watch request: lines into events
kubeconfig  where the servers are and who we are
errors      what is nobody's Status: no server answered
"""
