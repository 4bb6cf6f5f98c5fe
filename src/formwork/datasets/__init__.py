"""The link stage, from raw images to manifests: layout, classes and splits (candidates), selection of classes (groups),
verification of each file, and findings, which are all that is wrong with the images."""
