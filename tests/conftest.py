from hypothesis import settings

# A busy machine is not a failure: no example is too slow.
settings.register_profile("offline", deadline=None)
settings.load_profile("offline")
