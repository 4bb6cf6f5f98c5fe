"""Compiled code behind three doors: decode a JPEG, resize an image, and `@kernel` for a loop of your own."""
