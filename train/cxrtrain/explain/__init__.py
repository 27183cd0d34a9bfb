"""Where in an image a model's score comes from, and what the images look like that it is wrong about."""
