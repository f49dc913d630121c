"""Measures how fast Textmill trains and scores, beside what users would pick instead.

    make bench ARGS="--cola FOLDER --output speed.json"

Contestants take turns, round after round, each in a process of its own and with the same weights
and texts, so that what the machine does meanwhile hits all of them alike. ``docs/performance.md``
says how each number comes about.
"""
