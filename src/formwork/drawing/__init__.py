"""Pictures of images, and text in pictures."""
