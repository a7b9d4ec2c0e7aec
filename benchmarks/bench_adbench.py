"""ADBench: train on half of the normals, test on the other half and all anomalies.

The setting of every method is chosen on seven sets alone, `SEVEN`, and confirmed on the others. The seven are named by
a rule that reads no result: of the 22 names in alphabetical order (without regard to case) every third.

    python benchmarks/bench_adbench.py --data FOLDER
"""

SEVEN = ("cardio", "glass", "letter", "optdigits", "shuttle", "vertebral", "wine")
"""The 3rd, 6th, ... 21st of the 22 names: fixed before any autoencoder was trained."""
