"""Measuring: benchmarks, stages, peers, statistics and checks on explanations, behind `python -m dear evaluate`.

Nothing here imports a corpus: what reads text and searches it is handed in by the command line.
"""
