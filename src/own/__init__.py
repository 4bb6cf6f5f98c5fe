"""Your own code. No update of Formwork edits this folder: operations.py has operations for augmentation lists."""
