"""A trained model on images from anywhere: preprocessed as the pipeline does it, whatever form they come in."""
