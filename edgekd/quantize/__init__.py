"""Post-training quantization, end to end: a float model and samples → integers, exported, verified and measured for one target.

model.py ─► stages.py ─► run.py     a float model from anywhere, as a graph that is proven to be it
data.py  ─┘                         samples, and the integers that a device would feed
"""
