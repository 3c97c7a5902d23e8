"""From a yaml to frozen settings, and the mistakes that a user can make on the way."""
