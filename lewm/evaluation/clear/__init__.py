"""Tasks and results in the forms of CLEAR-LeWM, an independent audit of LeWorldModel's evaluation."""
