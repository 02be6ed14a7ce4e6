"""The way of a decision to its agent.

Enqueue: `outbox` writes the signal in the decision's transaction. Publish: `publisher` sends it
after the commit, by the guarded script in `commands`. Repeat: `relay` sends again what nobody
has received. Resync: `resync` sends what Redis missed besides. `after_commit` runs all that
follows a commit, `wire` says what agents read, and `keys` names where.
"""
