"""The layers that replace a backbone's last ones.

A head has `build(feature_shape, num_classes, *, options…) -> keras.Model` from features [n, *feature_shape] to logits.
"""
