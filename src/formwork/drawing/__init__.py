"""Pictures and charts that people look at."""
