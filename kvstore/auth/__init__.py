"""Who may do what, as replicated state: users, roles, permissions on key ranges. Pure: time, chance and secrets come in as arguments.

store.py        users and roles as they are now, in memory and in their tables; whether authentication is on; the auth revision
users.py        what is asked of them, one function each
roles.py        the same for roles and their permissions
access.py       may this caller do that? the checks of etcd's auth store
permissions.py  ranges of keys, merged, and whether they cover a range
passwords.py    bcrypt; slow on purpose, so nobody calls it on an event loop
tokens.py       simple tokens: memory of one member, assigned through the log on all
signed.py       signed tokens: nobody needs to remember them
"""
