"""From a manifest to a beton: encoding images, and writing the file reproducibly."""
