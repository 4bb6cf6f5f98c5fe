"""What link writes beside the manifests: dataset.json, and the tree of links."""
