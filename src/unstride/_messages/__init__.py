"""Error classes, the wording of messages, and checks that refuse arguments for their type or name."""
