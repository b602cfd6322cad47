"""Models beside each other, measured alike."""
