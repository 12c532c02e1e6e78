"""stable-worldmodel's recordings: a file, a folder or a Lance table of columns with a row a step.

The release 0.1.1 does not record the picture of the reset; the repository does since its pull request 294. In both, a
row's action is the one taken from its picture, a row's reward that of the action before it, and the last row of an
episode has no action: NaN now, while 0.1.1 leaves the episode's first action there.
"""
