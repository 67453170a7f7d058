"""Lists of texts travel through a batch as one string, as LAVIS's collate stacks only what has one shape."""

SEPARATOR = "\n"
GROUP_SEPARATOR = "\n\n"  # between lists
