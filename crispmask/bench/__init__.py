"""How fast a model is on this machine, in each form it can be run in.

Each form runs in a process of its own, so that its memory is its own; the processes take turns,
so that whatever else the machine does hits all of them.
"""
