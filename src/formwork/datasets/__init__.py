"""From folders of images to manifests: finding files, verification, classes, splits."""
