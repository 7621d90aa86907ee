"""Where photos and labels come from.

A source has `rows(*, options…) -> DataFrame` with the columns `uri` (an absolute path), `label`, `group` and `split`
(text or None; `split` is train, validation or test where the source fixes it), and any further columns of its own,
which travel along under the prefix `slice_`, and by whose values test images are scored too. A row with text in the
column `error` is set aside for that reason.
"""
