"""From a trained run to lists with the user's own ids."""
