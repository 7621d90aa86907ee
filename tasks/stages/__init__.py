"""The stages, one per file, in the order in which a run meets them.

data        ingest, validate, preprocess, audit
features    search, rank_backbones, review_ranking, extract, check_transfer
models      tune, train_head, warm_start, race, fine_tune, interpolate, soup, average, distill, choose
evaluation  calibrate, evaluate, gate
release     register, publish, score
curves      fit_pretrained, fit_from_scratch, compare
retraining  detect_changes, assess_changes

A stage's body opens its input references, calls one pure function, logs to MLflow and returns a record.
Nothing is imported here: a stage loads its libraries when it runs.
"""
