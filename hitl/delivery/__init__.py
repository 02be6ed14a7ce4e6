"""Delivers decisions to their agents.

Enqueue: `outbox` writes the signal in the decision's transaction. Publish: `publisher` sends it
after the commit, by the guarded script in `commands`. Repeat: `relay` sends again what nobody
has received. Resync: `resync` sends other changes that Redis missed. `after_commit` runs
everything that follows a commit, `wire` builds what agents read, `parser` reads what they
write, and `keys` has the keys' names.
"""
