"""Models, and the stage that trains them."""
