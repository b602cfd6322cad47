"""Looking at features: what a store holds, what lies near what, and how two encoders differ."""
