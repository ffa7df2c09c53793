"""Post-training quantization: NNCF decides, the waist carries it out. Models of other libraries come in as float graphs.

nncf.py       a float ONNX file and samples → ranges, scales, corrected biases
integers.py   those, and a float graph → the integer graph under the rules of the waist
modules.py    a torch module → a float graph
keras.py      a Keras model or SavedModel → a float TFLite file
"""
