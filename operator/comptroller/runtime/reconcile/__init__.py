"""One module per kind: what the decision means for an object, made so and told."""
