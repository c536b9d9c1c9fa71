"""Builds the heads that the library ships, and the face model learnt from them: `python -m
mofa_lib.anny_faces`.
"""
