"""A trained model behind HTTP: recommendations, items, explanations and search."""
