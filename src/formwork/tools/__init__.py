"""What people run beside the pipeline, a package for each tool. No stage depends on anything here."""
