"""The stages of one run, each looked up in the store or made."""
