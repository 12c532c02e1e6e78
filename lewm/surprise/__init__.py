"""How surprising a video is: the error of the predicted embedding, calibrated on clean episodes."""
