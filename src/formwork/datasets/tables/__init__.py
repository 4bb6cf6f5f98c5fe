"""Tables of labels: a file in the raw dataset that says the label, split, group or weight of each image.

`read_labels` finds the table, reads it into columns, and matches its rows with files; docs/labels.md is for users.
"""
