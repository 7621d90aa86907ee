"""The layers that replace a backbone's last ones.

A head has `build(feature_shape, num_classes, *, options…) -> keras.Model` from features [n, *feature_shape] to logits.
A head that is not trained also has `learn(features, labels, num_classes, *, options…) -> keras.Model`, which takes
what it needs from the training features in one pass.

`suggest(trial) -> options` gives a search options to try; its parameters' names begin with the head's name. A head
without it is tried with the options that it has.
"""
