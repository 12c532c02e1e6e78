"""Any environment of Gymnasium's as a world."""
