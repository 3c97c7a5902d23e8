"""Model folders in use: from texts to labels, without torch, transformers or pandas."""
