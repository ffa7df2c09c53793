"""TensorFlow for the two sources that need it, quiet, and with as many threads as torch was given."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # what TensorFlow says of itself while it is imported

import tensorflow as tf
import torch


def share_threads() -> None:
    """Give TensorFlow torch's number of threads. Once it has computed anything, it keeps those that it has."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(torch.get_num_threads())
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        return
