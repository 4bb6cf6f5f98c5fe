"""From folders of images to manifests: sources that make or download them, verification, splits."""
