"""The second edition of people: 224 pixels, everybody freshly drawn, hair in strands.

It stands beside the studio until the face model and all weights are made anew on its people, and
then takes its place. What has not changed is imported from there.
"""

from mofa_lib.second.people import People

__all__ = ["People"]
