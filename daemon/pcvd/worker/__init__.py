"""What runs inside worker processes: the only place where JAX and the user's code live.

Started by name, never imported by the daemon, and possibly under another interpreter than pcv's
own: standard library, NumPy, JAX, `pcvd.core` and `pcvd.blobs` only. The way of a job: modules are
imported from source (`modules`) while `reads` records what they read, targets are resolved
(`discover`), arguments made (`inputs`), builds carried out (`carry`, `build`), artifacts collected
(`collect`), executables run (`outputs`). `session` speaks with the daemon; `zygote` forks sessions.
"""
