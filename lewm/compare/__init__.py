"""`lewm compare`: from a specification to tables of methods, with their uncertainty."""
