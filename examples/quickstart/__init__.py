"""From a folder of pictures, words and sounds to a page of recommendations, in one command."""
