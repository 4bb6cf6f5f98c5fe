"""The other files in data/interim/<name>, beside the manifests: dataset.json (settings) and the tree of links."""
