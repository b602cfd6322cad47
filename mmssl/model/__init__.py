"""MMSSL: an equation, a place.

``mmssl.py`` holds the parameters and the forward pass. ``step.py`` draws what a step works on,
``objective.py`` makes its losses of the views, ``relation_graphs.py`` keeps the relation graphs.
"""
