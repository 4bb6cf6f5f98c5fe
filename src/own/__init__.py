"""Your own code. No update of Formwork edits a file that you add here, so that pulling one conflicts with none of them.

operations.py: operations for augmentation lists, as OPERATIONS = {"<name in params.yaml>": <class>, ...};
docs/augmentation.md has an example to copy.
models.py: a function f(classes, **options) for each own/<function> of model.name; docs/models.md has an example.

The stages train and evaluate depend on this folder: after an edit they run again, and no other stage does.
"""
