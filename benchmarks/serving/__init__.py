"""Measures how fast `textmill serve` answers, beside what users would pick instead.

    python -m benchmarks.serving BUNDLE --output serving.json
    python -m benchmarks.serving.load BUNDLE

Contestants take turns, round after round, each a service of its own on this machine that answers
the same client, and every answer is compared with what the classifier says in-process.
``docs/serving.md`` says what was found.
"""
