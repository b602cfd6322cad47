"""Features into other features: PCA, whitening, centring, lengths, one of several layers."""
